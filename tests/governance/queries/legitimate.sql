SELECT 1 AS one

SELECT * FROM silver.orders ORDER BY order_id

FROM silver.orders SELECT order_id, amount WHERE amount > 10 ORDER BY 1

SELECT o.order_id, o.amount FROM silver.orders o WHERE o.status = 'paid' ORDER BY o.order_id LIMIT 5 OFFSET 2

SELECT silver.orders.order_id FROM silver.orders ORDER BY ALL

SELECT count(*), count(DISTINCT customer_id), sum(amount), avg(amount), min(amount), max(amount) FROM silver.orders

SELECT status, count(*) AS n FROM silver.orders GROUP BY status HAVING count(*) > 1 ORDER BY n DESC, status

SELECT status, customer_id, sum(amount) AS s FROM silver.orders GROUP BY ALL ORDER BY ALL

SELECT DISTINCT status FROM silver.orders ORDER BY status

SELECT DISTINCT ON (customer_id) customer_id, order_id FROM silver.orders ORDER BY customer_id, order_id DESC

SELECT c.country, sum(o.amount) FROM silver.orders o JOIN silver.customers c USING (customer_id) GROUP BY 1 ORDER BY 1

SELECT c.name, o.order_id FROM silver.customers c LEFT JOIN silver.orders o ON o.customer_id = c.customer_id AND o.amount > 50 ORDER BY 1, 2 NULLS LAST

SELECT count(*) FROM silver.orders NATURAL JOIN silver.customers

SELECT a.order_id, b.order_id FROM silver.orders a CROSS JOIN silver.orders b WHERE a.order_id < b.order_id AND a.order_id < 4 ORDER BY 1, 2 LIMIT 10

SELECT c.customer_id FROM silver.customers c SEMI JOIN silver.orders o ON o.customer_id = c.customer_id ORDER BY 1

SELECT c.customer_id FROM silver.customers c ANTI JOIN silver.orders o ON o.customer_id = c.customer_id ORDER BY 1

SELECT c.customer_id, o.order_id FROM silver.orders o FULL OUTER JOIN silver.customers c ON c.customer_id = o.customer_id ORDER BY 1 NULLS LAST, 2 NULLS LAST

WITH big AS (SELECT * FROM silver.orders WHERE amount > 40) SELECT count(*) FROM big

WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT x, y FROM a, b

WITH orders AS (SELECT order_id FROM silver.orders WHERE order_id < 5) SELECT * FROM orders ORDER BY 1

WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT sum(i) FROM n

WITH x AS MATERIALIZED (SELECT customer_id, sum(amount) AS s FROM silver.orders GROUP BY 1) SELECT max(s) FROM x

SELECT order_id FROM silver.orders WHERE customer_id IN (SELECT customer_id FROM silver.customers WHERE country = 'DE') ORDER BY 1

SELECT order_id FROM silver.orders o WHERE EXISTS (SELECT 1 FROM silver.customers c WHERE c.customer_id = o.customer_id AND c.country = 'FR') ORDER BY 1

SELECT name, (SELECT sum(amount) FROM silver.orders o WHERE o.customer_id = c.customer_id) AS total FROM silver.customers c ORDER BY name

SELECT order_id FROM silver.orders WHERE amount > ALL (SELECT amount FROM silver.orders WHERE status = 'open') ORDER BY 1

SELECT order_id, row_number() OVER (PARTITION BY customer_id ORDER BY order_id) AS rn FROM silver.orders ORDER BY 1

SELECT order_id, sum(amount) OVER (ORDER BY order_id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS moving FROM silver.orders ORDER BY 1

SELECT order_id, avg(amount) OVER w, rank() OVER w FROM silver.orders WINDOW w AS (PARTITION BY status ORDER BY amount, order_id) ORDER BY 1

SELECT sold_on, sum(sum(amount)) OVER (ORDER BY sold_on RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW) FROM silver.orders GROUP BY sold_on ORDER BY 1

SELECT order_id, lag(amount, 1, 0) OVER (ORDER BY order_id), lead(amount) OVER (ORDER BY order_id), first_value(amount) OVER (ORDER BY order_id) FROM silver.orders ORDER BY 1

SELECT order_id, ntile(4) OVER (ORDER BY order_id), percent_rank() OVER (ORDER BY order_id), cume_dist() OVER (ORDER BY order_id) FROM silver.orders ORDER BY 1

SELECT customer_id, order_id FROM silver.orders QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY amount DESC, order_id) = 1 ORDER BY 1

SELECT status, customer_id, sum(amount) FROM silver.orders GROUP BY GROUPING SETS ((status), (customer_id), ()) ORDER BY ALL

SELECT status, customer_id, sum(amount), grouping(status) FROM silver.orders GROUP BY ROLLUP (status, customer_id) ORDER BY ALL

SELECT status, customer_id, count(*) FROM silver.orders GROUP BY CUBE (status, customer_id) ORDER BY ALL

SELECT count(*) FILTER (WHERE status = 'paid') AS paid, sum(amount) FILTER (amount > 20) AS high FROM silver.orders

SELECT CASE WHEN amount >= 50 THEN 'high' WHEN amount >= 20 THEN 'middle' ELSE 'low' END AS class, count(*) FROM silver.orders GROUP BY 1 ORDER BY 1

SELECT CASE status WHEN 'paid' THEN 1 ELSE 0 END AS flag FROM silver.orders ORDER BY order_id

SELECT date_trunc('month', sold_on) AS month, sum(amount) FROM silver.orders GROUP BY 1 ORDER BY 1

SELECT extract(year FROM sold_on) AS y, month(sold_on), day(sold_on), dayofweek(sold_on), week(sold_on), quarter(sold_on) FROM silver.orders ORDER BY order_id

SELECT date_part('dow', sold_on), date_diff('day', DATE '2026-01-01', sold_on), datediff('month', DATE '2025-01-01', sold_on) FROM silver.orders ORDER BY order_id

SELECT sold_on + INTERVAL 1 MONTH, sold_on - INTERVAL '3 days', sold_on + 7 FROM silver.orders ORDER BY order_id

SELECT strftime(ordered_at, '%Y-%m-%d %H:%M'), strftime(sold_on, '%d.%m.%Y') FROM silver.orders ORDER BY order_id

SELECT strptime('2026-03-01', '%Y-%m-%d'), try_strptime('x', '%Y')

SELECT make_date(2026, 3, 1), last_day(DATE '2026-02-03'), DATE '2026-03-01' - DATE '2026-02-01', TIMESTAMP '2026-01-01 10:00:00'

SELECT ordered_at AT TIME ZONE 'Europe/Berlin', epoch(ordered_at), epoch_ms(ordered_at) FROM silver.orders ORDER BY order_id

SELECT time_bucket(INTERVAL '7 days', sold_on) AS bucket, count(*) FROM silver.orders GROUP BY 1 ORDER BY 1

SELECT CAST(amount AS INTEGER), amount::DOUBLE, TRY_CAST(status AS INTEGER), CAST(order_id AS VARCHAR) FROM silver.orders ORDER BY order_id

SELECT upper(name), lower(name), length(name), trim(name), substr(name, 1, 2), substring(name, 2), replace(name, 'a', 'b'), left(name, 1), right(name, 1) FROM silver.customers ORDER BY customer_id

SELECT name || ' (' || country || ')', concat(name, '-', country), concat_ws('/', name, country), lpad(country, 5, '*'), rpad(country, 5, '.'), reverse(name), repeat(country, 2) FROM silver.customers ORDER BY customer_id

SELECT name FROM silver.customers WHERE name LIKE 'A%' OR name ILIKE '%z%' OR name NOT LIKE '_a%' ORDER BY 1

SELECT name FROM silver.customers WHERE name LIKE '50!%%' ESCAPE '!' OR regexp_matches(name, '^[A-M]') ORDER BY 1

SELECT regexp_extract(email, '@(.+)$', 1), regexp_replace(email, '@.*', ''), split_part(email, '@', 2), string_split(email, '@') FROM silver.customers ORDER BY customer_id

SELECT starts_with(name, 'A'), ends_with(name, 'a'), contains(name, 'an'), strpos(name, 'n'), instr(name, 'n'), position('n' IN name) FROM silver.customers ORDER BY customer_id

SELECT name FROM silver.customers WHERE name SIMILAR TO 'A.*' OR name GLOB 'B*' ORDER BY 1

SELECT coalesce(region, 'none'), nullif(country, 'DE'), ifnull(region, '?'), greatest(1, 2), least(1, 2) FROM silver.customers ORDER BY customer_id

SELECT if(score > 0.5, 'yes', 'no') FROM silver.customers ORDER BY customer_id

SELECT round(score, 1), floor(score), ceil(score), abs(-score), sqrt(score), ln(score + 1), log10(score + 1), exp(score), power(score, 2), sign(score) FROM silver.customers ORDER BY customer_id

SELECT 7 // 2, 7 % 2, mod(7, 2), 2 ** 3, 7 / 2, -(-3), 5 & 3, 5 | 3, 1 << 3, ~5, xor(5, 3)

SELECT median(amount), quantile_cont(amount, 0.9), quantile_disc(amount, 0.5), round(stddev(amount), 6), round(variance(amount), 6), mode(status) FROM silver.orders

SELECT quantile_cont(score, [0.25, 0.5, 0.75]), corr(score, customer_id), covar_pop(score, customer_id), regr_slope(score, customer_id) FROM silver.customers

SELECT approx_count_distinct(customer_id) > 0, arg_max(order_id, amount), arg_min(order_id, amount), any_value(1), bool_and(amount > 0), bool_or(amount > 90) FROM silver.orders

SELECT string_agg(name, ', ' ORDER BY name), list(name ORDER BY name), array_agg(country ORDER BY customer_id DESC) FROM silver.customers

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM silver.orders

SELECT max_by(name, score), min_by(name, score), count_if(score > 0.5) FROM silver.customers

SELECT histogram(status) FROM silver.orders

SELECT tags[1], len(tags), list_contains(tags, 'new'), list_sort(tags), list_distinct(tags), array_to_string(tags, '|'), tags[1:2] FROM silver.orders ORDER BY order_id

SELECT list_transform(tags, x -> upper(x)), list_filter(tags, lambda t: t <> 'new'), [t || '!' FOR t IN tags IF len(t) > 2] FROM silver.orders ORDER BY order_id

SELECT list_reduce([1, 2, 3], (a, b) -> a + b), list_sum([1, 2, 3]), list_aggregate([1, 5, 2], 'max'), flatten([[1], [2, 3]])

SELECT order_id, unnest(tags) AS tag FROM silver.orders ORDER BY 1, 2

SELECT o.order_id, t.tag FROM silver.orders o, unnest(o.tags) AS t(tag) ORDER BY 1, 2

SELECT address.city, address['zip'], struct_extract(address, 'city') FROM silver.orders ORDER BY order_id

SELECT {'a': 1, 'b': 'x'} AS s, struct_pack(a := 1, b := 2), row(1, 2), MAP {'k': 1}, map(['a'], [1])

SELECT attributes['channel'], map_keys(attributes), map_values(attributes), cardinality(attributes) FROM silver.orders ORDER BY order_id

SELECT json_extract(doc, '$.a'), doc ->> '$.b', doc -> 'a', json_extract_string(doc, '$.b'), json_array_length(doc, '$.l') FROM silver.customers ORDER BY customer_id

SELECT to_json({'a': 1}), json_object('k', 2), json_valid('{}'), json_type('[1]')

SELECT * EXCLUDE (email, doc) FROM silver.customers ORDER BY customer_id

SELECT * REPLACE (upper(name) AS name) FROM silver.customers ORDER BY customer_id

SELECT c.* FROM silver.customers c WHERE customer_id BETWEEN 2 AND 4 ORDER BY customer_id

SELECT name FROM silver.customers WHERE country IN ('DE', 'FR') AND NOT (region IS NULL) ORDER BY 1

SELECT name FROM silver.customers WHERE (country, customer_id) IN (('DE', 1), ('FR', 2)) ORDER BY 1

SELECT name FROM silver.customers WHERE region IS DISTINCT FROM 'north' AND score IS NOT NULL ORDER BY name

SELECT customer_id FROM silver.orders UNION SELECT customer_id FROM silver.customers ORDER BY 1

SELECT customer_id FROM silver.orders UNION ALL BY NAME SELECT name, customer_id FROM silver.customers ORDER BY ALL

SELECT customer_id FROM silver.customers EXCEPT SELECT customer_id FROM silver.orders ORDER BY 1

(SELECT customer_id FROM silver.customers INTERSECT SELECT customer_id FROM silver.orders) ORDER BY 1 LIMIT 3

SELECT c.name, l.order_id FROM silver.customers c, LATERAL (SELECT order_id FROM silver.orders o WHERE o.customer_id = c.customer_id ORDER BY amount DESC, order_id LIMIT 1) l ORDER BY 1

SELECT o.order_id, p.price FROM silver.orders o ASOF JOIN silver.prices p ON o.customer_id = p.customer_id AND o.ordered_at >= p.seen_at ORDER BY 1

SELECT o.order_id, p.price FROM silver.orders o ASOF LEFT JOIN silver.prices p ON o.customer_id = p.customer_id AND o.ordered_at >= p.seen_at ORDER BY 1

SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t(id, letter) ORDER BY id

SELECT v.id, c.name FROM (VALUES (1), (2)) v(id) JOIN silver.customers c ON c.customer_id = v.id ORDER BY 1

SELECT d.day::DATE, coalesce(sum(o.amount), 0) FROM generate_series(DATE '2026-01-01', DATE '2026-01-10', INTERVAL 1 DAY) AS d(day) LEFT JOIN silver.orders o ON o.sold_on = d.day GROUP BY 1 ORDER BY 1

SELECT i FROM range(1, 6) AS r(i) ORDER BY i

SELECT range(3), generate_series(1, 3)

SELECT typeof(amount), typeof(tags) FROM silver.orders LIMIT 1

SELECT md5(name), sha256(name), hash(name) IS NOT NULL FROM silver.customers ORDER BY customer_id

SELECT sum(amount)::DECIMAL(18, 4) / count(*) AS mean FROM silver.orders

SELECT country, revenue, revenue / sum(revenue) OVER () AS share FROM gold.daily_sales ORDER BY 1, 2

SELECT sold_on, revenue - lag(revenue) OVER (PARTITION BY country ORDER BY sold_on) AS change FROM gold.daily_sales ORDER BY ALL

SELECT "order_id" AS "the order", amount AS betrag_ä FROM silver.orders ORDER BY 1

SELECT order_id AS select_, 'it''s' AS said, '; DROP TABLE x; --' AS odd FROM silver.orders ORDER BY 1

SELECT order_id /* a comment */ FROM silver.orders -- another
ORDER BY 1

SELECT levenshtein(name, 'Ana'), jaro_winkler_similarity(name, 'Ana') FROM silver.customers ORDER BY customer_id

SELECT age(TIMESTAMP '2026-03-01', TIMESTAMP '2026-01-15'), to_days(3), date_add(DATE '2026-01-01', INTERVAL 1 DAY)

SELECT format('{:.2f}', 1.234), printf('%05d', 42), chr(65), ascii('A'), unicode('ä'), bar(3, 0, 10, 5)

SELECT order_id FROM silver.orders ORDER BY amount DESC NULLS LAST, order_id ASC FETCH FIRST 3 ROWS ONLY

SELECT order_id FROM silver.orders ORDER BY order_id LIMIT 10 %

SELECT current_date IS NOT NULL, now() IS NOT NULL, today() IS NOT NULL

FROM gold.daily_sales ORDER BY ALL

SELECT sum(x.s) FROM (SELECT status, sum(amount) AS s FROM silver.orders GROUP BY status) AS x

SELECT TRUE AND NOT FALSE, NULL IS NULL, 1 = 1, 1 <> 2, 1 != 2, 'a' < 'b', 1e3, 0x1F, 1_000

SELECT order_id, amount * quantity AS value, -amount, +quantity, quantity * 1.5 / 2 FROM silver.orders ORDER BY 1

SELECT name FROM silver.customers WHERE regexp_full_match(name, 'A.*') OR name ^@ 'Z' ORDER BY 1

SELECT order_id FROM silver.orders WHERE tags && ['new'] OR tags @> ['old'] OR ['gift'] <@ tags ORDER BY 1

SELECT 5 ^ 2, 10 >> 1, 'a' = ANY (['a', 'b']), 3 = ANY (SELECT customer_id FROM silver.customers)

SELECT CASE WHEN amount > 10 AND (status = 'paid' OR status = 'sent') AND NOT quantity = 2 THEN amount * 100 END AS cents FROM silver.orders ORDER BY order_id

SELECT round(100.0 * count(*) FILTER (WHERE status = 'paid') / count(*), 2) AS share FROM silver.orders

SELECT c.country, round(sum(o.amount * o.quantity), 2) AS revenue, count(DISTINCT o.customer_id) AS buyers FROM silver.orders AS o JOIN silver.customers AS c ON c.customer_id = o.customer_id WHERE o.sold_on >= DATE '2026-01-10' AND o.sold_on < DATE '2026-02-01' GROUP BY c.country ORDER BY revenue DESC

SELECT sold_on, sum(amount) AS s, sum(amount) - lag(sum(amount)) OVER (ORDER BY sold_on) AS change, round(100 * (sum(amount) / lag(sum(amount)) OVER (ORDER BY sold_on) - 1), 1) AS percent FROM silver.orders GROUP BY sold_on ORDER BY sold_on

WITH firsts AS (SELECT customer_id, min(sold_on) AS first FROM silver.orders GROUP BY customer_id) SELECT date_trunc('week', f.first) AS cohort, (o.sold_on - f.first) // 7 AS week, count(DISTINCT o.customer_id) FROM silver.orders o JOIN firsts f USING (customer_id) GROUP BY ALL ORDER BY ALL

SELECT name, score, CASE WHEN score IS NULL THEN 'none' ELSE CAST(score * 100 AS INTEGER) || '%' END FROM silver.customers ORDER BY customer_id
