// Places, lists and cancels orders; see ../README.md for what goes in and comes out.
//
// What goes wrong is an error here; Lambda hands the name of its type to a caller as `errorType`.
package main

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	store, err := open(os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	// While the instance starts, which is not the caller's time. Who cannot connect now tries again.
	if err := store.connect(context.Background()); err != nil {
		log.Print("the database cannot be reached yet: ", err)
	}
	lambda.Start(func(ctx context.Context, event event) (any, error) {
		answer, err := store.handle(ctx, event)
		var unavailable unavailable
		if errors.As(err, &unavailable) {
			log.Printf("%v: %v", err, unavailable.cause)
			return nil, DatabaseUnavailable(err.Error())
		}
		return answer, err
	})
}

func (store *store) handle(ctx context.Context, event event) (any, error) {
	switch event.Action {
	case "place":
		lines, err := event.order()
		if err != nil {
			return nil, err
		}
		order, err := store.place(ctx, event.ID, event.Customer, lines)
		return map[string]any{"order": order}, err
	case "cancel":
		if err := key("id", event.ID); err != nil {
			return nil, err
		}
		order, err := store.cancel(ctx, event.ID)
		return map[string]any{"order": order}, err
	case "list":
		if err := text("customer", event.Customer); err != nil {
			return nil, err
		}
		orders, err := store.list(ctx, event.Customer)
		return map[string]any{"orders": orders}, err
	case "stock":
		stock, err := store.stock(ctx)
		return map[string]any{"stock": stock}, err
	}
	return nil, InvalidOrder("action must be one of place, cancel, list, stock")
}
