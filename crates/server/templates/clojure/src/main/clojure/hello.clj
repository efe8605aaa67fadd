(ns hello
  "Greets whoever the event names."
  (:import (com.amazonaws.services.lambda.runtime Context))
  (:gen-class
   :name hello.Hello
   :implements [com.amazonaws.services.lambda.runtime.RequestHandler]))

(defn -handleRequest [_ event ^Context context]
  (let [name (get event "name" "world")]
    (.log (.getLogger context) (str "greeting " name "\n"))
    {"message" (str "Hello, " name "!")}))
