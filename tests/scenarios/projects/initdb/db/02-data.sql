INSERT INTO sales VALUES
  ('2026-01-01', 'Lyon', 10.50),
  ('2026-01-02', 'Lyon', 4.50),
  ('2026-01-01', 'Besançon', 7.25);
