//! The first call: what it creates, and what it refuses.

use eventhubs_checkpoint_store::{CheckpointStore as _, ErrorKind, Expected};
use eventhubs_checkpoint_store_postgres::{
    PostgresCheckpointStore, PostgresCheckpointStoreBuilder, SCHEMA_VERSION, schema_sql,
};
use eventhubs_test_harness::Postgres;
use tokio::task::JoinSet;

use crate::{claim, connect, scope, store, store_at, won};

async fn kind(builder: PostgresCheckpointStoreBuilder) -> (ErrorKind, String) {
    let error = builder.build().unwrap().list_ownership(&scope()).await.unwrap_err();
    (error.kind(), error.to_string())
}

async fn empty_database() -> (String, PostgresCheckpointStoreBuilder) {
    let server = Postgres::shared().await;
    let database = server.create_database();
    let builder = PostgresCheckpointStore::builder(&server.connection_string(&database));
    (database, builder)
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_instances_start_at_once_on_an_empty_database() {
    let server = Postgres::shared().await;
    let database = server.create_database();
    let mut starts = JoinSet::new();
    for id in 0..16 {
        let store = store_at(server.port(), &database);
        starts.spawn(async move { won(&store, &claim(&id.to_string(), Some("a"), Expected::Absent)).await });
    }
    assert_eq!(starts.join_all().await.len(), 16);
    let rows =
        connect(&database).await.query_typed("SELECT version FROM eventhubs.migration", &[]).await.unwrap();
    let versions: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(versions, [SCHEMA_VERSION]);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_with_both_versions() {
    let (store, database) = store().await;
    store.prepare().await.unwrap();
    let insert = "INSERT INTO eventhubs.migration (version) VALUES (7)";
    connect(&database).await.batch_execute(insert).await.unwrap();
    let server = Postgres::shared().await;
    for builder in [false, true]
        .map(|may| PostgresCheckpointStore::builder(&server.connection_string(&database)).migrate(may))
    {
        let (kind, text) = kind(builder).await;
        assert_eq!(kind, ErrorKind::Protocol);
        assert!(text.contains("have version 7") && text.contains("knows version 1"), "{text}");
    }
}

#[tokio::test]
async fn a_store_that_may_not_migrate_says_what_is_missing() {
    let (database, builder) = empty_database().await;
    let (found, text) = kind(builder.migrate(false)).await;
    assert_eq!(found, ErrorKind::NotFound);
    assert!(text.contains("have version 0, and version 1 is needed"), "{text}");
    let schemas = "SELECT 1 FROM pg_namespace WHERE nspname = 'eventhubs'";
    assert!(connect(&database).await.query_typed(schemas, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_printed_statements_are_what_a_store_needs() {
    let (database, builder) = empty_database().await;
    connect(&database).await.batch_execute(&schema_sql("Event Hubs-1.x").unwrap()).await.unwrap();
    let store = builder.schema("Event Hubs-1.x").migrate(false).build().unwrap();
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    store.fence(&scope(), &crate::partition("0")).await.unwrap();
}

#[tokio::test]
async fn a_user_without_the_right_to_create_uses_what_is_there() {
    let (store, database) = store().await;
    store.prepare().await.unwrap();
    let admin = connect(&database).await;
    let role = format!("app_{database}");
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'password'; GRANT USAGE ON SCHEMA eventhubs TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA eventhubs TO {role}; \
         GRANT USAGE ON SEQUENCE eventhubs.version TO {role}"
    );
    admin.batch_execute(&grants).await.unwrap();
    let connection_string = Postgres::shared().await.connection_string(&database);
    let as_role = connection_string.replace("user=postgres", &format!("user={role}"));
    let store = PostgresCheckpointStore::from_connection_string(&as_role).unwrap();
    won(&store, &claim("0", Some("a"), Expected::Absent)).await;
    let (found, _) = kind(PostgresCheckpointStore::builder(&as_role).schema("other")).await;
    assert_eq!(found, ErrorKind::Unauthorized);
}

#[tokio::test]
async fn schemas_of_one_database_share_nothing() {
    let (database, builder) = empty_database().await;
    let (one, other) = (builder.clone().build().unwrap(), builder.schema("other").build().unwrap());
    won(&one, &claim("0", Some("a"), Expected::Absent)).await;
    won(&other, &claim("0", Some("b"), Expected::Absent)).await;
    assert_eq!(one.list_scopes().await.unwrap(), [scope().to_lowercase()]);
    drop(database);
}

#[tokio::test]
async fn a_wrong_password_is_unauthorized() {
    let server = Postgres::shared().await;
    let wrong = server.connection_string("postgres").replace("password=password", "password=canary");
    let (kind, text) = kind(PostgresCheckpointStore::builder(&wrong)).await;
    assert_eq!(kind, ErrorKind::Unauthorized);
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_missing_database_is_not_found() {
    let connection_string = Postgres::shared().await.connection_string("nowhere");
    assert_eq!(kind(PostgresCheckpointStore::builder(&connection_string)).await.0, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_transient() {
    let builder = PostgresCheckpointStore::builder("host=127.0.0.1 port=1 user=u");
    assert_eq!(kind(builder).await.0, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_name_that_cannot_be_a_schema_is_refused() {
    for name in ["", "a\"b", "a$b", "{schema}", "a\nb", &"s".repeat(64)] {
        let builder = PostgresCheckpointStore::builder("host=h").schema(name);
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::InvalidArgument, "{name:?}");
    }
}
