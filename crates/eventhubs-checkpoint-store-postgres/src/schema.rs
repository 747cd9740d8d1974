//! The tables of a store: their name in the database, the numbered migrations, and how they are applied.

use eventhubs_checkpoint_store::{Error, ErrorKind, Result};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::call::{Call, Database, Failure};

/// The schema that holds the tables, unless said otherwise.
pub const DEFAULT_SCHEMA: &str = "eventhubs";

/// The version of the tables that this version of the crate needs.
pub const SCHEMA_VERSION: i32 = 1;

const SCRIPTS: [&str; SCHEMA_VERSION as usize] = [include_str!("schema/1.sql")];

/// Those of the tables that every store has.
pub(crate) const MIGRATIONS: Migrations =
    Migrations { table: "migration", scripts: &SCRIPTS, printed_by: "schema_sql" };

/// How some tables come to be what this version of the crate needs.
#[derive(Debug)]
pub(crate) struct Migrations {
    /// The table that has the versions which were applied.
    pub(crate) table: &'static str,
    /// The script at index `n` leads to version `n + 1`. One that was released is never changed.
    pub(crate) scripts: &'static [&'static str],
    /// The function of this crate that shows them.
    pub(crate) printed_by: &'static str,
}

impl Migrations {
    fn version(&self) -> i32 {
        i32::try_from(self.scripts.len()).unwrap_or(i32::MAX)
    }

    /// Those after this version, each with the version that it leads to.
    fn after(&self, version: i32) -> impl Iterator<Item = (i32, &'static str)> {
        (1..).zip(self.scripts.iter().copied()).filter(move |(leads_to, _)| *leads_to > version)
    }

    /// The statement that asks for the version.
    fn look(&self, schema: &Schema) -> String {
        schema.sql(&format!("SELECT coalesce(max(version), 0) FROM {{schema}}.{}", self.table))
    }
}

/// Whether there is a table. Not by `to_regclass`: it may know from the look before that there is none, while the
/// instance that had the lock has created it.
const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n \
    ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)";

/// The longest name of PostgreSQL, in bytes.
const MAX_NAME: usize = 63;

/// The name of a schema, checked and quoted.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    name: String,
}

impl Schema {
    /// Takes a name of letters, digits, and ` `, `_`, `-` or `.`: what can be put into SQL and into the body
    /// of a function without a second thought.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let is_plain = |char: char| char.is_alphanumeric() || " _-.".contains(char);
        let reason = if name.is_empty() {
            "is empty"
        } else if name.len() > MAX_NAME {
            "is longer than 63 bytes"
        } else if !name.chars().all(is_plain) {
            "has a character other than letters, digits, ` `, `_`, `-` and `.`"
        } else {
            return Ok(Self { name: name.to_owned() });
        };
        Err(Error::new(ErrorKind::InvalidArgument, format!("schema: {reason}")))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Fills the name into a statement: `{schema}` as an identifier, `{schema_name}` as a text, and `{next}`
    /// as the next version.
    pub(crate) fn sql(&self, template: &str) -> String {
        // Twenty random bits below the number: a replica that is promoted before it had all of the log may
        // repeat numbers, and an old version must not fit a new record by that.
        let next = "(nextval('{schema}.version') * 1048576 + floor(random() * 1048576)::bigint)";
        let template = template.replace("{next}", next).replace("{schema_name}", &format!("'{}'", self.name));
        template.replace("{schema}", &format!("\"{}\"", self.name))
    }

    /// One migration, for the version that it leads to.
    fn migration(&self, table: &str, version: i32, template: &str) -> String {
        let applied = format!("INSERT INTO {{schema}}.{table} (version) VALUES ({version});\n");
        self.sql(&format!("{template}\n{applied}"))
    }
}

/// Returns the statements that create the tables in a schema of this name, for whoever runs them by hand.
/// They are what a store executes, each version in a transaction of its own.
///
/// ```
/// let ddl = eventhubs_checkpoint_store_postgres::schema_sql("eventhubs")?;
/// assert!(ddl.starts_with("BEGIN;\n") && ddl.contains("CREATE TABLE \"eventhubs\".ownership"));
/// # Ok::<(), eventhubs_checkpoint_store::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] when the name is empty, is longer than 63 bytes, or has a character other
/// than letters, digits, ` `, `_`, `-` and `.`.
pub fn schema_sql(schema: &str) -> Result<String> {
    printed(schema, &MIGRATIONS)
}

/// The migrations as statements, each in a transaction of its own.
pub(crate) fn printed(schema: &str, migrations: &Migrations) -> Result<String> {
    let schema = Schema::new(schema)?;
    let transaction =
        |(version, sql)| format!("BEGIN;\n{}COMMIT;\n", schema.migration(migrations.table, version, sql));
    Ok(migrations.after(0).map(transaction).collect())
}

/// Makes sure that the tables are of the version that is needed, and creates or changes them if it
/// `may_migrate`.
pub(crate) async fn prepare(
    database: &Database,
    schema: &Schema,
    migrations: &Migrations,
    may_migrate: bool,
) -> Result<()> {
    let call = database.call().await?;
    // The look comes first, so that an instance needs no right to create anything where the tables are there.
    let look = migrations.look(schema);
    let found = version(&call, &look).await.map_err(|failure| failure.during("read the schema version"))?;
    check_not_newer(schema, migrations, found)?;
    if found == migrations.version() {
        return Ok(());
    }
    if !may_migrate {
        return Err(outdated(schema, migrations, found));
    }
    for next in migrations.after(found) {
        let migrated = migrate(&call, schema, migrations, next).await;
        migrated.map_err(|failure| failure.during("create the tables"))?;
    }
    Ok(())
}

async fn version(call: &Call, look: &str) -> std::result::Result<i32, Failure> {
    match call.run(look, &[]).await {
        Ok(rows) => Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?),
        Err(failure) if failure.is(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(failure) => Err(failure),
    }
}

/// Applies one migration, unless another instance was faster.
async fn migrate(
    call: &Call,
    schema: &Schema,
    migrations: &Migrations,
    (version, sql): (i32, &str),
) -> std::result::Result<(), Failure> {
    let lock = schema.sql("SELECT pg_advisory_xact_lock(hashtextextended('eventhubs.' || {schema_name}, 0))");
    let client = call.begin_exclusive()?;
    // A lock of the transaction, since one of the session is lost behind a pooler. The look comes after it in
    // a statement of its own: only a new snapshot shows what the instance before has done.
    call.within(client.batch_execute(&format!("{}; {lock}", call.begin()))).await?;
    let rest = if applied(call, client, schema, migrations).await? < version {
        format!("{} COMMIT", schema.migration(migrations.table, version, sql))
    } else {
        "COMMIT".to_owned()
    };
    call.within(client.batch_execute(&rest)).await?;
    call.end_exclusive();
    Ok(())
}

/// The version in a transaction that must not fail where there is no table yet.
async fn applied(
    call: &Call,
    client: &Client,
    schema: &Schema,
    migrations: &Migrations,
) -> std::result::Result<i32, Failure> {
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schema.name, Type::TEXT), (&migrations.table, Type::TEXT)];
    let look = client.query_typed(IS_THERE, &parameters);
    let is_there: bool = call.within(look).await?.first().map_or(Ok(false), |row| row.try_get(0))?;
    if !is_there {
        return Ok(0);
    }
    let look = migrations.look(schema);
    let rows = call.within(client.query_typed(&look, &[])).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
}

fn check_not_newer(schema: &Schema, migrations: &Migrations, found: i32) -> Result<()> {
    let known = migrations.version();
    if found <= known {
        return Ok(());
    }
    let text = format!(
        "the tables in the schema {:?} have version {found}, and this program knows version {known}: \
         a newer version of it has migrated them",
        schema.name
    );
    Err(Error::new(ErrorKind::Protocol, text))
}

fn outdated(schema: &Schema, migrations: &Migrations, found: i32) -> Error {
    let (needed, printed_by) = (migrations.version(), migrations.printed_by);
    let text = format!(
        "the tables in the schema {:?} have version {found}, and version {needed} is needed: `migrate(true)` \
         creates them, and `{printed_by}` prints how",
        schema.name
    );
    Error::new(ErrorKind::NotFound, text)
}
