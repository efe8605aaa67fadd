package main

import (
	"context"
	"fmt"
)

func (store *store) place(ctx context.Context, id, customer string, lines []line) (placed *order, err error) {
	err = store.transaction(ctx, func(sql statements) error {
		count, err := sql.run(sql.insertOrder, id, customer)
		if err != nil {
			return err
		}
		if count == 0 {
			// Placed before: the answer was lost, or another order has the id.
			placed, err = read(sql, id)
			if err == nil && !placed.is(customer, lines) {
				err = OrderExists("another order was placed as " + id)
			}
			return err
		}
		for _, line := range lines {
			if err := take(sql, id, line); err != nil {
				return err
			}
		}
		placed, err = read(sql, id)
		return err
	})
	return placed, err
}

// take makes a line of the order `id` and takes it out of stock.
func take(sql statements, id string, line line) error {
	// The condition is what keeps stock from falling below zero, whoever else buys now.
	count, err := sql.run("UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ?",
		line.Quantity, line.SKU, line.Quantity)
	if err != nil {
		return err
	}
	if count == 0 {
		left, err := stock(sql, "SELECT sku, stock FROM products WHERE sku = ?", line.SKU)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return UnknownProduct("there is no product " + line.SKU)
		}
		return OutOfStock(fmt.Sprintf("%d of %s are left, not %d", left[line.SKU], line.SKU, line.Quantity))
	}
	_, err = sql.run("INSERT INTO order_lines (order_id, sku, quantity, price)"+
		" SELECT ?, sku, ?, price FROM products WHERE sku = ?", id, line.Quantity, line.SKU)
	return err
}

func (store *store) cancel(ctx context.Context, id string) (cancelled *order, err error) {
	err = store.transaction(ctx, func(sql statements) error {
		changed, err := sql.run("UPDATE orders SET status = 'cancelled' WHERE id = ? AND status = 'placed'", id)
		if err != nil {
			return err
		}
		if cancelled, err = read(sql, id); err != nil {
			return err
		}
		// Cancelled once: a second call gives nothing back.
		for _, line := range cancelled.Lines {
			if changed == 0 {
				break
			}
			if _, err := sql.run("UPDATE products SET stock = stock + ? WHERE sku = ?", line.Quantity, line.SKU); err != nil {
				return err
			}
		}
		return nil
	})
	return cancelled, err
}

func (store *store) list(ctx context.Context, customer string) (found []*order, err error) {
	chosen := fmt.Sprintf("SELECT * FROM orders WHERE customer = ? ORDER BY placed DESC, id LIMIT %d", listedMax)
	err = store.transaction(ctx, func(sql statements) error {
		found, err = orders(sql, chosen, customer)
		return err
	})
	return found, err
}

func (store *store) stock(ctx context.Context) (left map[string]int, err error) {
	err = store.transaction(ctx, func(sql statements) error {
		left, err = stock(sql, "SELECT sku, stock FROM products ORDER BY sku LIMIT 1000")
		return err
	})
	return left, err
}

func stock(sql statements, query string, arguments ...any) (map[string]int, error) {
	rows, err := sql.rows(query, arguments...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	left := map[string]int{}
	for rows.Next() {
		var sku string
		var count int
		if err := rows.Scan(&sku, &count); err != nil {
			return nil, err
		}
		left[sku] = count
	}
	return left, rows.Err()
}

func read(sql statements, id string) (*order, error) {
	found, err := orders(sql, "SELECT * FROM orders WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, OrderNotFound("there is no order " + id)
	}
	return found[0], nil
}

// orders are those that a query chooses, with their lines, newest first.
func orders(sql statements, chosen, argument string) ([]*order, error) {
	rows, err := sql.rows("SELECT o.id, o.customer, o.status, l.sku, l.quantity, l.price FROM ("+chosen+") o"+
		" JOIN order_lines l ON l.order_id = o.id ORDER BY o.placed DESC, o.id, l.sku", argument)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []*order{}
	for rows.Next() {
		var one order
		var line line
		if err := rows.Scan(&one.ID, &one.Customer, &one.Status, &line.SKU, &line.Quantity, &line.Price); err != nil {
			return nil, err
		}
		if len(found) == 0 || found[len(found)-1].ID != one.ID {
			found = append(found, &one)
		}
		order := found[len(found)-1]
		order.Lines = append(order.Lines, line)
		order.Total += int64(line.Quantity) * int64(line.Price)
	}
	return found, rows.Err()
}

// is says whether it is the order of this customer for these lines.
func (order *order) is(customer string, lines []line) bool {
	if order.Customer != customer || len(order.Lines) != len(lines) {
		return false
	}
	for at, line := range lines {
		if order.Lines[at].SKU != line.SKU || order.Lines[at].Quantity != line.Quantity {
			return false
		}
	}
	return true
}
