package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

const (
	linesMax    = 20
	quantityMax = 1000
	listedMax   = 50
)

var keys = regexp.MustCompile(`^[A-Za-z0-9-]{1,40}$`)

// event is a call: `{"action": "place", "id", "customer", "lines": [{"sku", "quantity"}]}`.
type event struct {
	Action   string
	ID       string
	Customer string
	Lines    []line
}

// line is so many of one product, and what each costs.
type line struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    int    `json:"price"`
}

// order is what was placed.
type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Status   string `json:"status"`
	Total    int64  `json:"total"`
	Lines    []line `json:"lines"`
}

// InvalidOrder is what came in and is no order; its text names the field.
type InvalidOrder string

// UnknownProduct is a name that no product has.
type UnknownProduct string

// OutOfStock is more than is left.
type OutOfStock string

// OrderExists is an id that another order was placed with.
type OrderExists string

// OrderNotFound is an id that no order has.
type OrderNotFound string

// DatabaseUnavailable is a call that may be made again later.
type DatabaseUnavailable string

func (problem InvalidOrder) Error() string        { return string(problem) }
func (problem UnknownProduct) Error() string      { return string(problem) }
func (problem OutOfStock) Error() string          { return string(problem) }
func (problem OrderExists) Error() string         { return string(problem) }
func (problem OrderNotFound) Error() string       { return string(problem) }
func (problem DatabaseUnavailable) Error() string { return string(problem) }

// UnmarshalJSON takes what is missing or of another type for empty, which each field refuses by name.
func (event *event) UnmarshalJSON(data []byte) error {
	var given struct{ Action, ID, Customer, Lines json.RawMessage }
	if json.Unmarshal(data, &given) != nil {
		return nil
	}
	for _, field := range []struct {
		data []byte
		into any
	}{{given.Action, &event.Action}, {given.ID, &event.ID}, {given.Customer, &event.Customer}} {
		_ = json.Unmarshal(field.data, field.into)
	}
	var lines []json.RawMessage
	_ = json.Unmarshal(given.Lines, &lines)
	for _, one := range lines {
		var given struct{ SKU, Quantity json.RawMessage }
		var line line
		_ = json.Unmarshal(one, &given)
		_ = json.Unmarshal(given.SKU, &line.SKU)
		_ = json.Unmarshal(given.Quantity, &line.Quantity)
		event.Lines = append(event.Lines, line)
	}
	return nil
}

func key(field, value string) error {
	if !keys.MatchString(value) {
		return InvalidOrder(field + " must be 1 to 40 letters, digits and hyphens")
	}
	return nil
}

func text(field, value string) error {
	// Neither database keeps a zero.
	if count := utf8.RuneCountInString(value); count < 1 || count > 80 || strings.ContainsRune(value, 0) {
		return InvalidOrder(field + " must be a text of 1 to 80 characters")
	}
	return nil
}

// order checks what is to be placed and returns its lines by name, so that two orders for the same
// products wait for each other in the same order.
func (event event) order() ([]line, error) {
	if err := key("id", event.ID); err != nil {
		return nil, err
	}
	if err := text("customer", event.Customer); err != nil {
		return nil, err
	}
	if len(event.Lines) < 1 || len(event.Lines) > linesMax {
		return nil, InvalidOrder(fmt.Sprintf("lines must have 1 to %d entries", linesMax))
	}
	seen := map[string]bool{}
	for _, line := range event.Lines {
		if err := key("sku", line.SKU); err != nil {
			return nil, err
		}
		if seen[line.SKU] {
			return nil, InvalidOrder(fmt.Sprintf("lines has %s twice", line.SKU))
		}
		if line.Quantity < 1 || line.Quantity > quantityMax {
			return nil, InvalidOrder(fmt.Sprintf("quantity must be from 1 to %d", quantityMax))
		}
		seen[line.SKU] = true
	}
	lines := append([]line{}, event.Lines...)
	sort.Slice(lines, func(a, b int) bool { return lines[a].SKU < lines[b].SKU })
	return lines, nil
}
