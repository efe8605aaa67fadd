;; Counts its events in a global and in its memory, says so on standard error, and answers the count.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\64\00\00\00\02\00\00\00\c8\00\00\00\0e\00\00\00")
  (data (i32.const 200) "counted event\n")
  (global $events (mut i32) (i32.const 48))
  (func (export "_start")
    (global.set $events (i32.add (global.get $events) (i32.const 1)))
    (i32.store8 (i32.const 300) (i32.add (i32.const 1) (i32.load8_u (i32.const 300))))
    (i32.store8 (i32.const 100) (global.get $events))
    (i32.store8 (i32.const 101) (i32.add (i32.const 48) (i32.load8_u (i32.const 300))))
    (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 400)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 400)))))
