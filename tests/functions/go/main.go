// A function on aws-lambda-go as its documentation writes one.
package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type request struct {
	Name string `json:"name"`
}

type reply struct {
	Greeting  string `json:"greeting"`
	RequestID string `json:"requestId"`
	Arn       string `json:"arn"`
	Deadline  bool   `json:"deadline"`
	Region    string `json:"region"`
}

func handle(ctx context.Context, event request) (*reply, error) {
	switch event.Name {
	case "":
		return nil, errors.New("some_error_msg")
	case "error":
		return nil, errors.New("Error: some_error_msg")
	case "panic":
		panic("it panicked")
	case "exit":
		os.Exit(4)
	}
	call, _ := lambdacontext.FromContext(ctx)
	_, hasDeadline := ctx.Deadline()
	return &reply{
		Greeting:  "Hello, " + event.Name,
		RequestID: call.AwsRequestID,
		Arn:       call.InvokedFunctionArn,
		Deadline:  hasDeadline,
		Region:    os.Getenv("AWS_REGION"),
	}, nil
}

func main() {
	lambda.Start(handle)
}
