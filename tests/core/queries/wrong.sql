select place.city, o.place.zip, silver.orders.place.city from silver.orders o
select ammount from silver.orders
select o.nope from silver.orders o
select x.id from silver.orders o
select id from silver.orders o join gold.orders g on o.id = g.id
select id from silver.orders where nope > 1
select id from silver.orders group by nope
select id from silver.orders order by nope
select id from silver.orders having nope > 1
select * exclude (nope) from silver.orders
select * replace (1 as nope) from silver.orders
select q.* from silver.orders
select * from silver.orders join silver.customers using (nope)
select * from silver.orders join gold.orders using (customer_id)
with a as (select id from silver.orders) select amount from a
select (select total from gold.orders where nope = 1) from silver.orders
select id from silver.orders where exists (select 1 from gold.orders g where g.total = o.id)
select b + 1 as a, 1 as b from silver.orders
select x.name from (select customer_id from silver.customers) x
select name from silver.orders o semi join silver.customers c using (customer_id)
select list_transform(tags, x -> x || nope) from silver.orders
select [x || nope for x in tags] from silver.orders
select sum(amount) over (partition by nope) from silver.orders
select sum(amount) over w from silver.orders window w as (order by nope)
select id from silver.orders union select id from gold.orders order by total
select u.nope from silver.orders, unnest(tags) as u(tag)
select count(*) filter (where nope) from silver.orders
select nope.city from silver.orders
select orders.nope.city from silver.orders
select silver.orders.nope from silver.orders
select silver.orders.id from silver.orders o
select orders.id from silver.orders o
select customer_id from silver.orders, silver.customers
select * from silver.orders a join silver.orders b on true join silver.customers c using (customer_id)
with recursive r as (select 1 as n union all select m + 1 from r) select * from r
with r(a) as (select id from silver.orders) select id from r
select t.c from (values (1)) t(a)
select nope from (values (1)) t(a)
select nope
select id from silver.orders qualify row_number() over (order by nope) = 1
select distinct on (nope) id from silver.orders
select id from silver.orders where id in (select nope from gold.orders)
select i from range(3) r(x)
from silver.orders select nope
select max(columns(* exclude nope)) from silver.orders
select place.nope from silver.orders
