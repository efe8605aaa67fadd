// hello for functions-framework, and the second handler at /work.
const functions = require("@google-cloud/functions-framework");

const ANSWER = { text: "x".repeat(20000) };

functions.http("hello", (request, response) => {
  if (request.path !== "/work") {
    response.json({ hello: "world" });
    return;
  }
  console.log("one: the event has", request.body.text.length, "characters");
  console.log("two: the request is", request.method);
  console.log("three: done");
  response.json(ANSWER);
});
