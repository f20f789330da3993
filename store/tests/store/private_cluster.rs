//! The cluster that `leadline dev` and these tests run on.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _};

use leadline_store::cluster::{ClusterConfig, ClusterError, Durability, PrivateCluster};
use sqlx::{Connection as _, PgConnection};

#[tokio::test]
async fn a_cluster_keeps_its_data_over_a_restart_and_belongs_to_one_leadline_at_a_time() {
    // Open to the account that runs the cluster when this runs as root.
    let open = fs::Permissions::from_mode(0o755);
    let dir = tempfile::Builder::new().permissions(open).tempdir().unwrap();
    let config = ClusterConfig::new(dir.path().join("pg"));
    let cluster = PrivateCluster::start(&config).await.unwrap();
    let url = cluster.ensure_database("leadline").await.unwrap();
    assert_eq!(cluster.ensure_database("leadline").await.unwrap(), url);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("CREATE TABLE kept (n integer)").execute(&mut connection).await.unwrap();
    let data_directory: String = sqlx::query_scalar("SHOW data_directory").fetch_one(&mut connection).await.unwrap();
    assert!(data_directory.ends_with("/pg/data"), "{data_directory}");

    let second = PrivateCluster::start(&config).await.unwrap_err();
    assert!(matches!(second, ClusterError::InUse { .. }), "{second}");
    let port = cluster.port();
    cluster.stop().await.unwrap();
    assert!(connection.ping().await.is_err());

    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let refused = PrivateCluster::start(&ClusterConfig { port: Some(taken_port), ..config.clone() }).await.unwrap_err();
    assert!(matches!(refused, ClusterError::PortTaken { port } if port == taken_port), "{refused}");

    let again = PrivateCluster::start(&ClusterConfig { port: Some(port), ..config.clone() }).await.unwrap();
    let mut connection = PgConnection::connect(&again.owner_url("leadline")).await.unwrap();
    sqlx::query("INSERT INTO kept VALUES (1)").execute(&mut connection).await.unwrap();
    again.stop().await.unwrap();

    fs::write(config.directory.join("data/PG_VERSION"), "9\n").unwrap();
    let broken = PrivateCluster::start(&config).await.unwrap_err();
    assert!(broken.to_string().contains("made by PostgreSQL 9"), "{broken}");
}

#[tokio::test]
async fn a_disposable_cluster_is_gone_with_its_files_when_it_stops() {
    let config = ClusterConfig::disposable();
    assert_eq!(config.durability, Durability::Disposable);
    let cluster = PrivateCluster::start(&config).await.unwrap();
    assert!(cluster.directory().join("data").is_dir());
    cluster.stop().await.unwrap();
    assert!(!config.directory.exists());

    // Dropped without a stop, as by a process that was killed: the lifeline closes all the same.
    let config = ClusterConfig::disposable();
    drop(PrivateCluster::start(&config).await.unwrap());
    while config.directory.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cluster_below_a_closed_directory_is_found_again_and_not_taken_for_that_of_a_new_state_directory() {
    // For an ordinary user the directory is open to itself; under root the cluster has to lie elsewhere.
    let closed = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap();
    let config = ClusterConfig::new(closed.path().join("state/pg"));
    let cluster = PrivateCluster::start(&config).await.unwrap();
    let directory = cluster.directory().to_owned();
    let elsewhere = !directory.starts_with(closed.path());
    cluster.ensure_database("leadline").await.unwrap();
    cluster.stop().await.unwrap();

    let again = PrivateCluster::start(&config).await.unwrap();
    PgConnection::connect(&again.owner_url("leadline")).await.unwrap();
    assert_eq!(again.directory(), directory);
    again.stop().await.unwrap();

    fs::remove_dir_all(closed.path().join("state")).unwrap();
    let fresh = PrivateCluster::start(&config).await.unwrap();
    assert!(PgConnection::connect(&fresh.owner_url("leadline")).await.is_err(), "the old cluster is not taken over");
    fresh.stop().await.unwrap();
    if elsewhere {
        fs::remove_dir_all(directory).unwrap();
    }
}
