select * from silver.orders
select o.*, c.name from silver.orders o join silver.customers c using (customer_id)
select * from silver.orders o left join silver.customers c using (customer_id)
select * from silver.orders o full join silver.customers c using (customer_id)
select * from silver.orders o right join silver.customers c using (customer_id)
select customer_id from silver.orders o full join silver.customers c using (customer_id)
select * from silver.orders natural join silver.customers
select * from silver.orders natural join gold.orders
select silver.orders.id, gold.orders.id as gid, total from silver.orders, gold.orders
select * from silver.orders o semi join silver.customers c using (customer_id)
select * from silver.orders o anti join silver.customers c on o.customer_id = c.customer_id
select * from silver.orders o positional join gold.orders g
select * from silver.orders o asof join bronze.events e on o.ordered_at >= e.t
select * exclude (note, tags) replace (amount * 2 as amount) rename (id as order_id) from silver.orders
select * exclude note from silver.orders
select o.* exclude (tags) from silver.orders o
select columns('.*_.*') from silver.orders
select columns(* exclude (tags, place)) from silver.orders
select min(columns(* exclude (tags))) from silver.orders
select columns(c -> c like 'c%') from silver.customers
select columns(['id','note']) from silver.orders
select * like 'c%' from silver.customers
select place.city, orders.place.zip, silver.orders.place.city as c2 from silver.orders
select place.* from silver.orders
select list_transform(tags, x -> upper(x) || note) as u, [t || note for t in tags if t <> 'a'] as f, list_filter(tags, lambda x: x = note) as g from silver.orders
select note.trim().upper() as n from silver.orders
from silver.orders select id where amount > 0
from silver.orders
table silver.orders
table gold.orders union all table gold.orders
select amount * 2 as double, double + 1 as more from silver.orders where double > 3 order by more
select sold_on as d, count(*) as n, sum(amount) as s from silver.orders group by d having n > 0 order by s
select sold_on, count(*), sum(amount), min(id), max(note), avg(amount) from silver.orders group by all order by all
select sold_on, customer_id, count(*) as n from silver.orders group by 1, 2 order by 3 desc limit 2
select id, row_number() over (partition by customer_id order by ordered_at) as rn, lag(amount) over w as previous, sum(amount) over w as running from silver.orders window w as (order by ordered_at) qualify rn = 1
select distinct on (customer_id) customer_id, amount from silver.orders order by customer_id, ordered_at desc
with a as (select id, amount from silver.orders), b as (select * from a where amount > 0) select b.*, a.id as other from b join a using (id)
with recursive r(n, d) as (select id, 0 from silver.orders union all select n + 1, d + 1 from r where d < 2) select * from r
with recursive r as (select 1 as n union select n + 1 from r where n < 3) select n from r
with orders as (select id, amount from silver.orders) select orders.id from orders
with silver as (select {'x': 1} as orders) select silver.orders.x from silver
select (select max(total) from gold.orders g where g.id = o.id) as m, exists (from gold.orders g where g.id = o.id) as e, o.id in (select id from gold.orders) as i from silver.orders o
select id from silver.orders where customer_id in (select customer_id from silver.customers where country = 'DE' and name = note or true)
select id, note from silver.orders union all select customer_id, name from silver.customers
select id, note from silver.orders union all by name select customer_id as id, country from silver.customers
select id from silver.orders except select id from gold.orders order by id
(select id from silver.orders) intersect (select id from gold.orders) order by 1 limit 1
select u.tag, id from silver.orders, unnest(tags) as u(tag)
select unnest, id from silver.orders, unnest(tags)
select unnest(tags) as tag, id from silver.orders
select id, x.double from silver.orders o, lateral (select o.amount * 2 as double) x
select id, double from silver.orders o, (select o.amount * 2 as double)
select r.range, id from silver.orders, range(2) r
select i from generate_series(1, 3) g(i)
select * from (values (1, 'a'), (2, 'b')) v(n, s)
select col0 from (values (1, 'a'))
values (1, 2), (3, 4)
from silver.orders pivot (sum(amount) for customer_id in (7, 8) group by note)
from (pivot silver.orders on customer_id using sum(amount) group by note)
from gold.orders unpivot (v for n in (id, total))
select "7" from (from silver.orders pivot (sum(amount) for customer_id in (7, 8) group by note))
select orders from silver.orders
select o from silver.orders o
select o.id as a, o.id as a, o.id from silver.orders o
select * from (select o.id, g.id from silver.orders o join gold.orders g using (id))
select id_1 from (select o.id, g.id from silver.orders o join gold.orders g on true)
select id, customer_id id, id + 1 as "Id" from silver.orders
select ID, Customer_Id, "AMOUNT" from SILVER.Orders
select count(*) filter (where amount > 0) as positive, string_agg(note, ',' order by id) as notes, arg_max(id, amount) as best, list(tags) as all_tags, first(note) as f, any_value(sold_on) as a, bool_and(amount > 0) as b, quantile_cont(amount, 0.5) as q, mode() within group (order by note) as m from silver.orders
select sum(k) as a, sum(v) as b, avg(k) as c, sum(k::smallint) as d, sum(k::hugeint) e, count(distinct k) f, min(v) g, sum(v::real) h, sum(k::decimal(5,1)) as i from bronze.events
select payload->>'a' as a, payload->'a' as b, payload.a as c, json_extract_string(payload, '$.a') as d from bronze.events
select a.x from (select 1 as x) a, (select 2 as y) b where x < y
select x.y from (select {'y': 1} as x) t, (select 5 as y) x
select id as "weird name", "weird name" + 1 as w2 from silver.orders
select o.id from silver.orders as o join silver.customers as c on c.customer_id = o.customer_id and o.ordered_at >= c.valid_from and (o.ordered_at < c.valid_to or c.valid_to is null) group by o.id
select id from silver.orders o where not exists (select 1 from gold.orders where gold.orders.id = o.id)
select id from silver.orders where exists (select 1 from gold.orders where gold.orders.id = silver.orders.id)
select id from (silver.orders o join gold.orders g using (id))
select * from (silver.customers c cross join (select 1 as one)) as q
select o.id, g.total from silver.orders o left join (gold.orders g join silver.customers c on true) using (id)
select #1, #3 from silver.orders
select id: id + 1, n: note from silver.orders
from o: silver.orders select o.id
select id, from silver.orders
select min(id), max(id), count(distinct note) from silver.orders where note is not null group by ()
select country, grouping(country) as g, count(*) as n from silver.customers group by grouping sets ((country), ())
select country, name, count(*) as n from silver.customers group by rollup(country, name), cube(country)
select s.a.b from (select {'a': {'b': 1}} as s)
select t.s.a.b from (select {'a': {'b': 1}} as s) t
select unnest({'a': 1, 'b': 2}), id from silver.orders
select unnest([{'a': 1, 'b': 2}], recursive := true), id from silver.orders
select * from silver.orders tablesample 100%
select * from silver.orders using sample 10 rows
select id from silver.orders order by amount desc nulls last limit 1 offset 1
select 1 as a union select 2 union select 3 order by a
select a from (select 1 as a union all select 2) t where a > 0
select * from range(3) t(x) join silver.orders on id = x
select case id when 1 then 'one' else 'many' end as c from silver.orders
select array(select id from gold.orders order by id) as ids
select id, (from gold.orders select max(total)) as mt from silver.orders
select max(id) as id, id as same from silver.orders group by all
select lower(note) as note, count(*) as n from silver.orders group by note
select lower(note) as note, count(*) as n from silver.orders group by all having note <> 'q' order by note
select id, amount from silver.orders where amount = (select max(amount) from silver.orders)
select id from silver.orders where amount > all (select total from gold.orders) or amount = any (select total from gold.orders)
select id, amount from silver.orders where (id, customer_id) in (select id, 7 from gold.orders)
select unnest(generate_series(1, 2)) as g, id from silver.orders
with t(a, b) as (select id, note from silver.orders) select a, t.b from t
with t(a) as (from gold.orders) select * from t
from gold.orders as q(a)
from gold.orders q(a) select q.a, total
select j.key, e.k from bronze.events e, json_each(e.payload) j
select k, value from bronze.events, json_each(payload)
select id, list_reduce(tags, (a, b) -> a || b || note) as r from silver.orders where len(tags) > 0
with x as materialized (select 1 as a), y as not materialized (select a + 1 as b from x) from x, y
select count() as c, count(id) filter (id > 1) as f from silver.orders
select try_strptime(note, '%d') as a, epoch_ms(id) as b, make_date(2020, 1, 2) as c, sold_on - date '2020-01-01' as d, sold_on + 1 as e, ordered_at - interval '3 days' as f from silver.orders
select t.a from (select a: 1) as t
select t.* replace (a + 1 as a) from (select 1 as a, 2 as b) t
select * rename (a as c) from (select 1 as a, 2 as b) t
select coalesce(*columns(['note'])) as x from silver.orders
select id from silver.orders where columns(* exclude (tags, place, sold_on, ordered_at, note)) > 0
select (id) as x, ((amount)) from silver.orders where ((id = 1) or (id = 2)) and (amount between 1 and (3 + 9))
select * from silver.orders o join silver.customers c on (o.customer_id = c.customer_id)
select k from bronze.events where (v > 1 and t > '2020-01-01') or not (v = 2)
select max(t) as current_timestamp_max, k as user from bronze.events group by k
select session_user as u, current_schema as s, current_user as c from silver.orders
select id, id*2 as id2, lead(id2) over (order by id2) as nx from silver.orders
select e.k, count(*) over (partition by e.k range between unbounded preceding and current row) as c from bronze.events e
select a.id from silver.orders a join silver.orders b on a.id = b.id join silver.orders c on c.id = b.id
select customer_id from silver.orders a join silver.customers b using (customer_id) join silver.customers c using (customer_id)
select id, b.name from silver.orders a left join silver.customers b using (customer_id) where b.customer_id is null
select * from silver.orders a, silver.customers b join gold.orders g on g.id = b.customer_id
select o.id from silver.orders o, gold.orders g left join silver.customers c on c.customer_id = g.id
select list_value(id, 1) as l, {'id': id, 'n': {'x': note}} as nested, [x for x in [1,2,3] if x > 1] as comp from silver.orders
select tags[1] as a, tags[1:2] as b, tags[-1] as c, place.city[1] as d from silver.orders
select 'a' as 'quoted alias', note "q" from silver.orders
select id as order, note as group from silver.orders
