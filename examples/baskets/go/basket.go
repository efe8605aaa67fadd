package main

import (
	"fmt"
	"regexp"
	"sort"
)

const linesMax = 100

var currencies = regexp.MustCompile(`^[A-Z]{3}$`)

// basket is what was bought: prices are net and in whole cents, so that sums are exact.
type basket struct {
	Currency string `json:"currency"`
	Lines    []line `json:"lines"`
}

// line is so many of one thing, the price of each, and the tax on it in percent. What an event leaves
// out stays nil: a price of nothing is a price.
type line struct {
	Name  string `json:"name"`
	Count *int   `json:"count"`
	Each  *int   `json:"each"`
	Vat   *int   `json:"vat"`
}

// tax is the net sum at one rate, and the tax on it.
type tax struct {
	Percent int   `json:"percent"`
	Net     int64 `json:"net"`
	Vat     int64 `json:"vat"`
}

// receipt is what is to be paid.
type receipt struct {
	Currency string `json:"currency"`
	Net      int64  `json:"net"`
	Vat      []tax  `json:"vat"`
	Gross    int64  `json:"gross"`
}

// InvalidBasket is a basket that cannot be priced; its text names the field.
type InvalidBasket string

func (problem InvalidBasket) Error() string { return string(problem) }

// check says why a basket cannot be priced.
func (basket basket) check() error {
	if !currencies.MatchString(basket.Currency) {
		return InvalidBasket("currency must be three capital letters")
	}
	if len(basket.Lines) < 1 || len(basket.Lines) > linesMax {
		return InvalidBasket(fmt.Sprintf("lines must have 1 to %d entries", linesMax))
	}
	for at, line := range basket.Lines {
		for _, field := range []struct {
			name      string
			value     *int
			low, high int
		}{
			{"count", line.Count, 1, 1000},
			{"each", line.Each, 0, 1_000_000},
			{"vat", line.Vat, 0, 100},
		} {
			if field.value == nil || *field.value < field.low || *field.value > field.high {
				return InvalidBasket(fmt.Sprintf(
					"lines[%d].%s must be from %d to %d", at, field.name, field.low, field.high))
			}
		}
	}
	return nil
}

// receipt prices a basket that was checked. Tax is rounded once for each rate, half a cent up.
func (basket basket) receipt() receipt {
	nets := map[int]int64{}
	for _, line := range basket.Lines {
		nets[*line.Vat] += int64(*line.Count) * int64(*line.Each)
	}
	priced := receipt{Currency: basket.Currency}
	for percent, net := range nets {
		vat := (net*int64(percent) + 50) / 100
		priced.Vat = append(priced.Vat, tax{Percent: percent, Net: net, Vat: vat})
		priced.Net += net
		priced.Gross += net + vat
	}
	sort.Slice(priced.Vat, func(a, b int) bool { return priced.Vat[a].Percent < priced.Vat[b].Percent })
	return priced
}
