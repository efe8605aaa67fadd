// Prices a basket.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
)

func handle(_ context.Context, basket basket) (*receipt, error) {
	if err := basket.check(); err != nil {
		return nil, err
	}
	priced := basket.receipt()
	log.Printf("priced %d rates of tax", len(priced.Vat))
	return &priced, nil
}

func main() {
	lambda.Start(handle)
}
