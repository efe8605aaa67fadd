package main

import (
	"reflect"
	"testing"
)

func bought(lines ...[3]int) basket {
	basket := basket{Currency: "EUR"}
	for _, one := range lines {
		count, each, vat := one[0], one[1], one[2]
		basket.Lines = append(basket.Lines, line{Count: &count, Each: &each, Vat: &vat})
	}
	return basket
}

func TestTaxIsRoundedOnceForEachRate(t *testing.T) {
	priced := bought([3]int{1, 7, 7}, [3]int{1, 19, 19}, [3]int{1, 0, 7}, [3]int{2, 4, 7}).receipt()
	wanted := receipt{Currency: "EUR", Net: 34, Gross: 39, Vat: []tax{{7, 15, 1}, {19, 19, 4}}}
	if !reflect.DeepEqual(priced, wanted) {
		t.Fatalf("%+v", priced)
	}
}

func TestHalfACentIsRoundedUp(t *testing.T) {
	if priced := bought([3]int{1, 10, 5}).receipt(); priced.Gross != 11 {
		t.Fatalf("%+v", priced)
	}
}

func TestTheLargestBasketDoesNotOverflow(t *testing.T) {
	basket := bought()
	for len(basket.Lines) < linesMax {
		basket.Lines = append(basket.Lines, bought([3]int{1000, 1_000_000, 100}).Lines...)
	}
	if err := basket.check(); err != nil {
		t.Fatal(err)
	}
	if gross := basket.receipt().Gross; gross != 200_000_000_000 {
		t.Fatal(gross)
	}
}

func TestWhatIsLeftOutIsRefusedByName(t *testing.T) {
	count := 1
	err := basket{Currency: "EUR", Lines: []line{{Count: &count}}}.check()
	if err != InvalidBasket("lines[0].each must be from 0 to 1000000") {
		t.Fatal(err)
	}
}
