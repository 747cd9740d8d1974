//! Checkpoints in the transactions of the application: `sqlx.rs` with PostgreSQL, `diesel.rs` with SQLite. What an event
//! leads to and its checkpoint are committed together, so that each event counts once, whatever instances die.
