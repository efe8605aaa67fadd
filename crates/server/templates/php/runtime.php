<?php
// Serves events over Lambda's Runtime API: asks for the next one, has the handler answer it, sends what
// it answered. The handler is FILE.FUNCTION.

final class Context
{
    public function __construct(
        public readonly string $requestId,
        public readonly string $functionArn,
        public readonly int $deadlineMs,
    ) {
    }

    public function remainingMs(): int
    {
        return max($this->deadlineMs - (int) (microtime(true) * 1000), 0);
    }
}

/** One request to the Runtime API: [headers by lower-case name, body]. */
function ask(string $path, ?string $body = null): array
{
    // The next event may be days away.
    $http = ['ignore_errors' => true, 'timeout' => 1e9, 'method' => $body === null ? 'GET' : 'POST'];
    if ($body !== null) {
        $http += ['header' => 'Content-Type: application/json', 'content' => $body];
    }
    $url = 'http://' . getenv('AWS_LAMBDA_RUNTIME_API') . "/2018-06-01/runtime/$path";
    $answer = fopen($url, 'r', false, stream_context_create(['http' => $http]));
    if ($answer === false) {
        throw new RuntimeException("$path: no answer");
    }
    $lines = stream_get_meta_data($answer)['wrapper_data'];
    $text = stream_get_contents($answer);
    if (!preg_match('~^HTTP/\S+ 2~', $lines[0])) {
        throw new RuntimeException("$path: $lines[0] $text");
    }
    $headers = [];
    foreach (array_slice($lines, 1) as $line) {
        [$name, $value] = explode(':', $line, 2);
        $headers[strtolower($name)] = trim($value);
    }
    return [$headers, $text];
}

function told(Throwable $error): string
{
    return json_encode([
        'errorMessage' => $error->getMessage(),
        'errorType' => $error::class,
        'stackTrace' => explode("\n", $error->getTraceAsString()),
    ], JSON_INVALID_UTF8_SUBSTITUTE);
}

try {
    [$file, $handler] = explode('.', getenv('_HANDLER'), 2);
    require (getenv('LAMBDA_TASK_ROOT') ?: __DIR__) . "/$file.php";
    if (!is_callable($handler)) {
        throw new RuntimeException("$file.php has no function $handler");
    }
} catch (Throwable $error) {
    ask('init/error', told($error));
    exit(1);
}

while (true) {
    [$headers, $event] = ask('invocation/next');
    $id = $headers['lambda-runtime-aws-request-id'];
    $context = new Context(
        $id,
        $headers['lambda-runtime-invoked-function-arn'] ?? '',
        (int) ($headers['lambda-runtime-deadline-ms'] ?? 0),
    );
    try {
        $answer = $handler(json_decode($event, true, 512, JSON_THROW_ON_ERROR), $context);
        $answer = json_encode($answer, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
        $path = "invocation/$id/response";
    } catch (Throwable $error) {
        error_log((string) $error);
        [$path, $answer] = ["invocation/$id/error", told($error)];
    }
    ask($path, $answer);
}
