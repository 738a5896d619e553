CREATE TABLE sales (day date NOT NULL, shop text NOT NULL, amount numeric(10, 2) NOT NULL);
CREATE VIEW revenue AS SELECT shop, sum(amount) AS total FROM sales GROUP BY shop;
