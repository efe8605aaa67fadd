;; The working handler of the benches: 2 KB in, 20 KB out, three lines on standard error.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 64) "a line of the log of a working handler\n")
  (func (export "_start")
    (local $lines i32)
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $again (i32.load (i32.const 8))))
    (loop $line
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 39))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
      (local.set $lines (i32.add (local.get $lines) (i32.const 1)))
      (br_if $line (i32.lt_u (local.get $lines) (i32.const 3))))
    ;; A JSON string of letters.
    (memory.fill (i32.const 70000) (i32.const 97) (i32.const 20000))
    (i32.store8 (i32.const 70000) (i32.const 34))
    (i32.store8 (i32.const 89999) (i32.const 34))
    (i32.store (i32.const 0) (i32.const 70000))
    (i32.store (i32.const 4) (i32.const 20000))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))))
