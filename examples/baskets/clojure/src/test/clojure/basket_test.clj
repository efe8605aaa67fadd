(ns basket-test
  (:require [basket :refer [checked receipt]]
            [clojure.test :refer [deftest is]]))

(defn- basket [& lines]
  {:currency "EUR" :lines (for [[count each vat] lines] {:count count :each each :vat vat})})

(deftest tax-is-rounded-once-for-each-rate
  (is (= {:currency "EUR" :net 34 :gross 39
          :vat [{:percent 7 :net 15 :vat 1} {:percent 19 :net 19 :vat 4}]}
         (receipt (basket [1 7 7] [1 19 19] [1 0 7] [2 4 7])))))

(deftest half-a-cent-is-rounded-up
  (is (= 11 (:gross (receipt (basket [1 10 5]))))))

(deftest the-largest-basket-does-not-overflow
  (is (= 200000000000 (:gross (receipt (checked (apply basket (repeat 100 [1000 1000000 100]))))))))

(deftest what-is-left-out-is-refused-by-name
  (is (thrown-with-msg? clojure.lang.ExceptionInfo #"^lines\[0\]\.each must be from 0 to 1000000$"
                        (checked (basket [1 nil 7]))))
  (is (thrown-with-msg? clojure.lang.ExceptionInfo #"^lines\[0\]\.count must be from 1 to 1000$"
                        (checked (basket ["1" 1 7])))))
