;; Calls a function that traps.
(module
  (memory (export "memory") 1)
  (func $divides_by_nothing (drop (i32.div_u (i32.const 1) (i32.const 0))))
  (func (export "_start") (call $divides_by_nothing)))
