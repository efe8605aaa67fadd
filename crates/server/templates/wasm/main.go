// Greets whoever the event names: a program that reads the event and writes the answer.
package main

import (
	"encoding/json"
	"log"
	"os"
)

type event struct {
	Name string `json:"name"`
}

type answer struct {
	Message string `json:"message"`
}

func main() {
	event := event{Name: "world"}
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		log.Fatalf("the event cannot be read: %v", err)
	}
	// Standard error is the log, standard output the answer.
	log.Printf("greeting %s", event.Name)
	if err := json.NewEncoder(os.Stdout).Encode(answer{Message: "Hello, " + event.Name + "!"}); err != nil {
		log.Fatalf("the answer cannot be written: %v", err)
	}
}
