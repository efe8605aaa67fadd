;; A wasi:http component's core: answers the path that it was asked for, with status 200.
;; /made: status 201. /none: no response. /trap: a trap. /out: tries to call out, and answers a letter for
;; the error code that it got ("P" is HTTP-request-denied).
(module
  (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.0" "[method]incoming-request.path-with-query"
    (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[constructor]outgoing-response"
    (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-response.set-status-code"
    (func $status (param i32 i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[static]outgoing-body.finish"
    (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.0" "[constructor]outgoing-request"
    (func $request (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-authority"
    (func $authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-path-with-query"
    (func $outgoing_path (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]future-incoming-response.subscribe"
    (func $subscribe (param i32) (result i32)))
  (import "wasi:http/types@0.2.0" "[method]future-incoming-response.get"
    (func $get (param i32 i32)))
  (import "wasi:http/types@0.2.0" "[resource-drop]incoming-request"
    (func $drop_incoming (param i32)))
  (import "wasi:http/outgoing-handler@0.2.0" "handle"
    (func $call_out (param i32 i32 i32 i32)))
  (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
  (import "wasi:io/poll@0.2.0" "[resource-drop]pollable" (func $drop_pollable (param i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $put (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $drop_stream (param i32)))

  (memory (export "memory") 1)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 1024) "127.0.0.1:1/")

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  ;; The error code of a request to nowhere, as a letter at 1100.
  (func $out
    (local $request i32) (local $future i32) (local $pollable i32)
    (local.set $request (call $request (call $fields)))
    (drop (call $authority (local.get $request) (i32.const 1) (i32.const 1024) (i32.const 11)))
    (drop (call $outgoing_path (local.get $request) (i32.const 1) (i32.const 1035) (i32.const 1)))
    (call $call_out (local.get $request) (i32.const 0) (i32.const 0) (i32.const 128))
    (if (i32.load8_u (i32.const 128))
      (then
        (i32.store8 (i32.const 1100) (i32.add (i32.const 65) (i32.load8_u (i32.const 136)))))
      (else
        (local.set $future (i32.load (i32.const 136)))
        (local.set $pollable (call $subscribe (local.get $future)))
        (call $block (local.get $pollable))
        (call $drop_pollable (local.get $pollable))
        (call $get (local.get $future) (i32.const 192))
        (i32.store8 (i32.const 1100) (i32.add (i32.const 65) (i32.load8_u (i32.const 216)))))))

  (func (export "wasi:http/incoming-handler@0.2.0#handle") (param $in i32) (param $param i32)
    (local $at i32) (local $len i32) (local $kind i32)
    (local $response i32) (local $body i32) (local $stream i32)
    (call $path (local.get $in) (i32.const 0))
    (call $drop_incoming (local.get $in))
    (local.set $at (i32.load (i32.const 4)))
    (local.set $len (i32.load (i32.const 8)))
    (if (i32.eq (local.get $len) (i32.const 5)) (then
      (local.set $kind (i32.load8_u (i32.add (local.get $at) (i32.const 1))))))
    (if (i32.eq (local.get $kind) (i32.const 110)) (then return))
    (if (i32.eq (local.get $kind) (i32.const 116)) (then unreachable))
    (if (i32.and (i32.eq (local.get $len) (i32.const 4))
                 (i32.eq (i32.load8_u (i32.add (local.get $at) (i32.const 1))) (i32.const 111)))
      (then
        (call $out)
        (local.set $at (i32.const 1100))
        (local.set $len (i32.const 1))))
    (local.set $response (call $response (call $fields)))
    (if (i32.eq (local.get $kind) (i32.const 109)) (then
      (drop (call $status (local.get $response) (i32.const 201)))))
    (call $body (local.get $response) (i32.const 16))
    (local.set $body (i32.load (i32.const 20)))
    (call $set (local.get $param) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write (local.get $body) (i32.const 24))
    (local.set $stream (i32.load (i32.const 28)))
    (call $put (local.get $stream) (local.get $at) (local.get $len) (i32.const 32))
    (call $drop_stream (local.get $stream))
    (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 64))))
