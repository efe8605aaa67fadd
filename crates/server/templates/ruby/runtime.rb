# Serves events over Lambda's Runtime API: asks for the next one, has the handler answer it, sends
# what it answered. The handler is FILE.METHOD, as Lambda's own Ruby writes it.
require "json"
require "net/http"

$stdout.sync = true

ROOT = ENV.fetch("LAMBDA_TASK_ROOT", __dir__)
HOST, PORT = ENV.fetch("AWS_LAMBDA_RUNTIME_API").split(":")
API = Net::HTTP.new(HOST, (PORT || 80).to_i)
API.read_timeout = nil # The next event may be days away.
API.max_retries = 0 # An answer that was sent twice would be refused.
JSON_TYPE = { "Content-Type" => "application/json" }.freeze

Context = Struct.new(:aws_request_id, :invoked_function_arn, :deadline_ms) do
  def get_remaining_time_in_millis
    [deadline_ms - (Time.now.to_f * 1000).to_i, 0].max
  end
end

def send_to(path, document)
  answer = API.post("/2018-06-01/runtime/#{path}", JSON.generate(document), JSON_TYPE)
  raise "#{path}: #{answer.code} #{answer.body}" unless answer.is_a?(Net::HTTPSuccess)
end

def told(error)
  { errorMessage: error.message, errorType: error.class.name, stackTrace: error.backtrace || [] }
end

begin
  file, _, name = ENV.fetch("_HANDLER").rpartition(".")
  require File.join(ROOT, file)
  handler = method(name)
rescue Exception => error
  send_to("init/error", told(error))
  exit 1
end

API.start
loop do
  event = API.get("/2018-06-01/runtime/invocation/next")
  raise "invocation/next: #{event.code} #{event.body}" unless event.is_a?(Net::HTTPSuccess)

  id = event["Lambda-Runtime-Aws-Request-Id"]
  context = Context.new(id, event["Lambda-Runtime-Invoked-Function-Arn"], event["Lambda-Runtime-Deadline-Ms"].to_i)
  begin
    answer = handler.call(event: JSON.parse(event.body), context: context)
    send_to("invocation/#{id}/response", answer)
  rescue StandardError, NotImplementedError, SystemStackError => error
    warn(error.full_message(highlight: false))
    send_to("invocation/#{id}/error", told(error))
  end
end
