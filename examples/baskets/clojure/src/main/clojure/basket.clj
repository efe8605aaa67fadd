(ns basket
  "Prices a basket: JSON in, JSON out. Prices are net and in whole cents, so that sums are exact."
  (:require [clojure.data.json :as json]
            [clojure.java.io :as io])
  (:import (com.amazonaws.services.lambda.runtime Context)
           (java.io InputStream OutputStream))
  (:gen-class
   :name baskets.Price
   :implements [com.amazonaws.services.lambda.runtime.RequestStreamHandler]))

(def ^:private lines-max 100)

(defn- invalid
  "A basket that cannot be priced; the message names the field."
  [message]
  (ex-info message {:kind :invalid-basket}))

(defn- within [field value low high]
  (when-not (and (int? value) (<= low value high))
    (throw (invalid (str field " must be from " low " to " high)))))

(defn checked
  "The same basket, if it can be priced."
  [{:keys [currency lines] :as basket}]
  (when-not (and (string? currency) (re-matches #"[A-Z]{3}" currency))
    (throw (invalid "currency must be three capital letters")))
  (when-not (and (sequential? lines) (<= 1 (count lines) lines-max))
    (throw (invalid (str "lines must have 1 to " lines-max " entries"))))
  (doseq [[at {:keys [count each vat]}] (map-indexed vector lines)
          :let [field #(str "lines[" at "]." %)]]
    (within (field "count") count 1 1000)
    (within (field "each") each 0 1000000)
    (within (field "vat") vat 0 100))
  basket)

(defn receipt
  "What is to be paid. Tax is rounded once for each rate, half a cent up."
  [{:keys [currency lines]}]
  (let [nets (reduce (fn [sums {:keys [count each vat]}] (update sums vat (fnil + 0) (* count each)))
                     (sorted-map) lines)
        taxes (for [[percent net] nets]
                {:percent percent :net net :vat (quot (+ (* net percent) 50) 100)})
        net (reduce + (map :net taxes))]
    {:currency currency :net net :vat taxes :gross (+ net (reduce + (map :vat taxes)))}))

(defn -handleRequest [_ ^InputStream input ^OutputStream output ^Context context]
  (with-open [reader (io/reader input :encoding "UTF-8")
              writer (io/writer output :encoding "UTF-8")]
    (let [answer (receipt (checked (json/read reader :key-fn keyword)))]
      (.log (.getLogger context) (str "priced " (count (:vat answer)) " rates of tax\n"))
      (json/write answer writer))))
