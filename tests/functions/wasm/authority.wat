;; Tries what a process could do, and answers one digit for each: 0 when it was let.
;; A preopened folder at 3 to 9; the opening of /etc/passwd through descriptors 0 to 9; accepting
;; on them; a rename of its own descriptor.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "../../../etc/passwd")
  (global $at (mut i32) (i32.const 1024))
  (func $note (param $errno i32)
    (i32.store8 (global.get $at)
      (select (i32.const 49) (i32.const 48) (i32.ne (local.get $errno) (i32.const 0))))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func (export "_start")
    (local $fd i32)
    (loop $next
      (call $note (call $prestat (i32.add (local.get $fd) (i32.const 3)) (i32.const 16)))
      (call $note (call $open (local.get $fd) (i32.const 1) (i32.const 100) (i32.const 19)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
      (call $note (call $open (local.get $fd) (i32.const 1) (i32.const 108) (i32.const 11)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
      (call $note (call $accept (local.get $fd) (i32.const 0) (i32.const 16)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $fd) (i32.const 10))))
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.sub (global.get $at) (i32.const 1024)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
