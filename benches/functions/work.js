const ANSWER = { text: "x".repeat(20000) };

exports.handler = async (event, context) => {
  console.log("one: the event has", (event.body || event.text || "").length, "characters");
  console.log("two: the request is", context.awsRequestId);
  console.log("three: done");
  return ANSWER;
};
