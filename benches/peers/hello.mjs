const ANSWER = { text: "x".repeat(20000) };

export default {
  async fetch(request) {
    if (new URL(request.url).pathname !== "/work") {
      return Response.json({ hello: "world" });
    }
    const event = await request.json();
    console.log("one: the event has", event.text.length, "characters");
    console.log("two: the request is", request.method);
    console.log("three: done");
    return Response.json(ANSWER);
  },
};
