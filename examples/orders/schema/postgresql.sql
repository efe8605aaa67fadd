-- psql --dbname orders --file schema/postgresql.sql; may run again.

CREATE TABLE IF NOT EXISTS products (
  sku   varchar(40) COLLATE "C" PRIMARY KEY,
  price integer NOT NULL CHECK (price >= 0),
  stock integer NOT NULL CHECK (stock >= 0)
);

CREATE TABLE IF NOT EXISTS orders (
  id       varchar(40) COLLATE "C" PRIMARY KEY,
  customer varchar(80) NOT NULL,
  status   varchar(10) NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'cancelled')),
  placed   timestamp(6) with time zone NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS orders_of_customer ON orders (customer, placed);

CREATE TABLE IF NOT EXISTS order_lines (
  order_id varchar(40) COLLATE "C" NOT NULL REFERENCES orders (id),
  sku      varchar(40) COLLATE "C" NOT NULL REFERENCES products (sku),
  quantity integer NOT NULL CHECK (quantity > 0),
  price    integer NOT NULL CHECK (price >= 0),
  PRIMARY KEY (order_id, sku)
);

-- What the function may do, and no more. The user is made by whoever runs the database.
GRANT SELECT, INSERT, UPDATE ON products, orders, order_lines TO orders;
