CREATE TABLE transactions (id INTEGER PRIMARY KEY, card TEXT, amount REAL, confirmed INTEGER);
INSERT INTO transactions (card, amount, confirmed) VALUES
    ('4970-1011-0001', 250.0, 1),
    ('4970-1011-0002', 80.0, 1),
    ('4970-1011-0003', 1200.5, 0),
    ('4970-1011-0004', 310.25, 1);
