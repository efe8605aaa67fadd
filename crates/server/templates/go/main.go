// Greets whoever the event names.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Name string `json:"name"`
}

type answer struct {
	Message string `json:"message"`
}

func handle(_ context.Context, event event) (answer, error) {
	name := event.Name
	if name == "" {
		name = "world"
	}
	log.Printf("greeting %s", name)
	return answer{Message: "Hello, " + name + "!"}, nil
}

func main() {
	lambda.Start(handle)
}
