"""The truck queries in SQL, for tables ``readings``, ``diagnostics`` and ``tags``.

Tags are joined after aggregation, by which both databases have the least to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from tests.benchmarks.query_questions import Draw
from tests.benchmarks.query_sql import Dialect, Sql, SqlSide

__all__ = ["IOT_SQL"]


def _of_fleet(draw: Draw) -> str:
    return f"tags_id IN (SELECT id FROM tags WHERE fleet = '{draw.fleet}' AND name IS NOT NULL)"


def _of_time(side: SqlSide, draw: Draw) -> str:
    return f"time >= {side.dialect.at(draw.start)} AND time < {side.dialect.at(draw.stop)}"


def last_loc(side: SqlSide, draw: Draw) -> pa.Table:
    """Last known position of each truck of a fleet."""
    last = side.dialect.last
    return side.run(f"""
        SELECT t.name AS name, t.driver AS driver, r.longitude AS longitude, r.latitude AS latitude
        FROM (
            SELECT tags_id, {last("longitude")} AS longitude, {last("latitude")} AS latitude
            FROM readings WHERE {_of_fleet(draw)} GROUP BY tags_id
        ) r JOIN tags t ON t.id = r.tags_id""")


def low_fuel(side: SqlSide, draw: Draw) -> pa.Table:
    """Trucks of a fleet with less than a tenth of their fuel."""
    return side.run(f"""
        SELECT t.name AS name, t.driver AS driver, d.fuel_state AS fuel_state
        FROM (
            SELECT tags_id, {side.dialect.last("fuel_state")} AS fuel_state
            FROM diagnostics WHERE {_of_fleet(draw)} GROUP BY tags_id
        ) d JOIN tags t ON t.id = d.tags_id WHERE d.fuel_state < 0.1""")


def high_load(side: SqlSide, draw: Draw) -> pa.Table:
    """Trucks of a fleet loaded to more than nine tenths."""
    return side.run(f"""
        SELECT t.name AS name, t.driver AS driver, d.current_load AS current_load
        FROM (
            SELECT tags_id, {side.dialect.last("current_load")} AS current_load
            FROM diagnostics WHERE {_of_fleet(draw)} GROUP BY tags_id
        ) d JOIN tags t ON t.id = d.tags_id WHERE d.current_load / t.load_capacity > 0.9""")


def stationary_trucks(side: SqlSide, draw: Draw) -> pa.Table:
    """Trucks of a fleet that hardly moved within ten minutes."""
    return side.run(f"""
        SELECT t.name AS name, t.driver AS driver
        FROM (
            SELECT tags_id FROM readings WHERE {_of_fleet(draw)} AND {_of_time(side, draw)}
            GROUP BY tags_id HAVING avg(velocity) < 1
        ) r JOIN tags t ON t.id = r.tags_id""")


def _driving(dialect: Dialect, where: str = "") -> str:
    return f"""
        SELECT tags_id, {dialect.floor("time", 10)} AS ten_minutes
        FROM readings {where} GROUP BY tags_id, ten_minutes HAVING avg(velocity) > 1"""


def _long_sessions(periods: int) -> Sql:
    def long_sessions(side: SqlSide, draw: Draw) -> pa.Table:
        """Trucks of a fleet that drove in more than so many ten-minute periods."""
        where = f"WHERE {_of_fleet(draw)} AND {_of_time(side, draw)}"
        return side.run(f"""
            SELECT t.name AS name, t.driver AS driver
            FROM (
                SELECT tags_id FROM ({_driving(side.dialect, where)}) d
                GROUP BY tags_id HAVING count(*) > {periods}
            ) r JOIN tags t ON t.id = r.tags_id""")

    return long_sessions


def fuel_consumption(side: SqlSide, draw: Draw) -> pa.Table:
    """Mean and nominal consumption while driving, by fleet."""
    return side.run("""
        SELECT t.fleet AS fleet,
            sum(r.total) / sum(r.known) AS avg_fuel_consumption,
            sum(r.number * t.nominal_fuel_consumption) / sum(r.number) AS projected_fuel_consumption
        FROM (
            SELECT tags_id, sum(fuel_consumption) AS total, count(fuel_consumption) AS known,
                count(*) AS number
            FROM readings WHERE velocity > 1 GROUP BY tags_id
        ) r JOIN tags t ON t.id = r.tags_id
        WHERE t.name IS NOT NULL AND t.fleet IS NOT NULL AND t.nominal_fuel_consumption IS NOT NULL
        GROUP BY t.fleet""")


def daily_driving_duration(side: SqlSide, draw: Draw) -> pa.Table:
    """Mean hours a day each truck drives, over the days on which it does."""
    return side.run(f"""
        SELECT t.fleet AS fleet, t.name AS name, t.driver AS driver, r.hours AS avg_daily_hours
        FROM (
            SELECT tags_id, avg(hours) AS hours FROM (
                SELECT tags_id, {side.dialect.floor("ten_minutes", 1440)} AS day,
                    count(*) / 6.0 AS hours
                FROM ({_driving(side.dialect)}) s GROUP BY tags_id, day
            ) d GROUP BY tags_id
        ) r JOIN tags t ON t.id = r.tags_id WHERE t.name IS NOT NULL""")


def daily_driving_session(side: SqlSide, draw: Draw) -> pa.Table:
    """Mean seconds that each truck drives without a stop, by the day on which it sets off."""
    dialect = side.dialect
    return side.run(f"""
        WITH status AS (
            SELECT tags_id, {dialect.floor("time", 10)} AS ten_minutes,
                CASE WHEN avg(velocity) > 5 THEN 1 ELSE 0 END AS driving
            FROM readings GROUP BY tags_id, ten_minutes HAVING count(velocity) > 0
        ), steps AS (
            SELECT tags_id, ten_minutes, driving,
                lag(driving, 1, driving) OVER (PARTITION BY tags_id ORDER BY ten_minutes) AS before
            FROM status
        ), changes AS (
            SELECT tags_id, ten_minutes, driving, lead(ten_minutes, 1, ten_minutes)
                OVER (PARTITION BY tags_id ORDER BY ten_minutes) AS stop
            FROM steps WHERE driving <> before
        )
        SELECT t.name AS name, c.day AS day, c.duration AS duration
        FROM (
            SELECT tags_id, {dialect.floor("ten_minutes", 1440)} AS day,
                avg(nullif({dialect.between("ten_minutes", "stop")}, 0)) AS duration
            FROM changes WHERE driving = 1 GROUP BY tags_id, day
        ) c JOIN tags t ON t.id = c.tags_id WHERE t.name IS NOT NULL
        ORDER BY name, day""")


def mean_load(side: SqlSide, draw: Draw) -> pa.Table:
    """Mean part of their capacity that trucks carry, by fleet, model and capacity."""
    return side.run("""
        SELECT t.fleet AS fleet, t.model AS model, t.load_capacity AS load_capacity,
            avg(d.load / t.load_capacity) AS avg_load_percentage
        FROM (SELECT tags_id, avg(current_load) AS load FROM diagnostics GROUP BY tags_id) d
        JOIN tags t ON t.id = d.tags_id WHERE t.name IS NOT NULL
        GROUP BY t.fleet, t.model, t.load_capacity""")


def daily_activity(side: SqlSide, draw: Draw) -> pa.Table:
    """Readings in active ten-minute periods by 144, a day, fleet and model."""
    dialect = side.dialect
    return side.run(f"""
        SELECT t.fleet AS fleet, t.model AS model, y.day AS day,
            sum(y.number) / 144.0 AS daily_activity
        FROM (
            SELECT tags_id, {dialect.floor("ten_minutes", 1440)} AS day, sum(number) AS number
            FROM (
                SELECT tags_id, {dialect.floor("time", 10)} AS ten_minutes, count(*) AS number
                FROM diagnostics GROUP BY tags_id, ten_minutes HAVING avg(status) < 1
            ) p GROUP BY tags_id, day
        ) y JOIN tags t ON t.id = y.tags_id WHERE t.name IS NOT NULL
        GROUP BY t.fleet, t.model, y.day ORDER BY y.day""")


def breakdown_frequency(side: SqlSide, draw: Draw) -> pa.Table:
    """How often trucks broke down, by model: half of ten minutes with status 0 after less."""
    return side.run(f"""
        WITH periods AS (
            SELECT tags_id, {side.dialect.floor("time", 10)} AS ten_minutes,
                CASE WHEN sum(CASE WHEN status = 0 THEN 1 ELSE 0 END) * 2 >= count(*)
                    THEN 1 ELSE 0 END AS broken
            FROM diagnostics GROUP BY tags_id, ten_minutes
        ), steps AS (
            SELECT tags_id, broken,
                lead(broken, 1, 0) OVER (PARTITION BY tags_id ORDER BY ten_minutes) AS following
            FROM periods
        )
        SELECT t.model AS model, CAST(sum(b.number) AS BIGINT) AS breakdowns
        FROM (
            SELECT tags_id, count(*) AS number FROM steps
            WHERE broken = 0 AND following = 1 GROUP BY tags_id
        ) b JOIN tags t ON t.id = b.tags_id WHERE t.name IS NOT NULL GROUP BY t.model""")


IOT_SQL: Final[Mapping[str, Sql]] = {
    "last-loc": last_loc,
    "low-fuel": low_fuel,
    "high-load": high_load,
    "stationary-trucks": stationary_trucks,
    "long-driving-sessions": _long_sessions(22),
    "long-daily-sessions": _long_sessions(60),
    "avg-vs-projected-fuel-consumption": fuel_consumption,
    "avg-daily-driving-duration": daily_driving_duration,
    "avg-daily-driving-session": daily_driving_session,
    "avg-load": mean_load,
    "daily-activity": daily_activity,
    "breakdown-frequency": breakdown_frequency,
}
"""By query type."""
