-- mariadb orders < schema/mariadb.sql; may run again.

CREATE TABLE IF NOT EXISTS products (
  sku   varchar(40) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
  price integer NOT NULL CHECK (price >= 0),
  stock integer NOT NULL CHECK (stock >= 0)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS orders (
  id       varchar(40) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,
  customer varchar(80) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  status   varchar(10) CHARACTER SET ascii NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'cancelled')),
  placed   timestamp(6) NOT NULL DEFAULT current_timestamp(6),
  KEY orders_of_customer (customer, placed)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS order_lines (
  order_id varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sku      varchar(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  quantity integer NOT NULL CHECK (quantity > 0),
  price    integer NOT NULL CHECK (price >= 0),
  PRIMARY KEY (order_id, sku),
  FOREIGN KEY (order_id) REFERENCES orders (id),
  FOREIGN KEY (sku) REFERENCES products (sku)
) ENGINE = InnoDB;

-- What the function may do, and no more. The user is made by whoever runs the database.
GRANT SELECT, INSERT, UPDATE ON products TO orders;
GRANT SELECT, INSERT, UPDATE ON orders TO orders;
GRANT SELECT, INSERT, UPDATE ON order_lines TO orders;
