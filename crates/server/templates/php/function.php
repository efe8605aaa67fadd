<?php
// Greets whoever the event names.
function handler(mixed $event, Context $context): mixed
{
    $name = $event['name'] ?? 'world';
    error_log("greeting $name");
    return ['message' => "Hello, $name!"];
}
