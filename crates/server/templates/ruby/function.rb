# Greets whoever the event names.
def handler(event:, context:)
  name = event["name"] || "world"
  puts "greeting #{name}"
  { message: "Hello, #{name}!" }
end
