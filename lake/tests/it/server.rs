use bytes::Bytes;
use futures::{StreamExt, stream};
use leadline_domain::Class;
use leadline_lake::{
    Lake, LakeConfig, LakeError, Prefix,
    embedded::{self, EmbeddedConfig, EmbeddedError},
};

use crate::fixture::{self, Fixture};

#[tokio::test]
async fn objects_survive_a_restart_and_half_received_ones_do_not() {
    let fixture = Fixture::start().await;
    let key = Prefix::tenant(&fixture.tenant).key("kept").unwrap();
    fixture.lake.put(&key, Bytes::from_static(b"body")).await.unwrap();
    // What a killed process leaves behind.
    std::fs::write(fixture.directory.path().join("incoming/torn"), b"half a bo").unwrap();

    let fixture = fixture.restart().await;
    assert_eq!(fixture.lake.get(&key).await.unwrap(), "body");
    assert_eq!(std::fs::read_dir(fixture.directory.path().join("incoming")).unwrap().count(), 0);
    fixture.lake.ensure_bucket().await.unwrap();
    fixture.lake.check().await.unwrap();
    assert_eq!(fixture.lake.list(&Prefix::tenant(&fixture.tenant)).await.unwrap().len(), 1, "the check leaves nothing");
}

#[tokio::test]
async fn a_directory_has_one_server_and_the_server_stays_on_loopback() {
    let fixture = Fixture::start().await;
    let config = |listen: &str| EmbeddedConfig {
        root: fixture.directory.path().to_owned(),
        listen: listen.parse().unwrap(),
        access_key: "a".into(),
        secret_key: "b".into(),
    };
    let second = embedded::serve(config("127.0.0.1:0")).await.unwrap_err();
    assert!(matches!(second, EmbeddedError::Directory { .. }), "{second}");
    let open = embedded::serve(config("0.0.0.0:0")).await.unwrap_err();
    assert!(matches!(open, EmbeddedError::NotLoopback(_)), "{open}");
    let shown = format!("{:?}", EmbeddedConfig { secret_key: "hunter2".into(), ..config("127.0.0.1:0") });
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_wrong_key_a_missing_bucket_and_a_dead_server_are_told_apart() {
    let fixture = Fixture::start().await;
    let denied = Lake::connect(&fixture::config(&fixture.server, "wrong")).unwrap().check().await.unwrap_err();
    assert!(matches!(denied, LakeError::Denied { .. }), "{denied}");
    assert_eq!(denied.failure().class(), Class::NeedsOperator);
    assert!(!denied.to_string().contains("test-access-key"), "{denied}");

    let config = fixture::config(&fixture.server, "test-secret-key");
    let elsewhere = LakeConfig { bucket: "elsewhere".into(), ..config.clone() };
    let missing = Lake::connect(&elsewhere).unwrap().check().await.unwrap_err();
    assert!(matches!(missing, LakeError::NotFound { .. }), "{missing}");
    assert!(!format!("{config:?}").contains("test-secret-key"));

    let lake = Lake::connect(&config).unwrap();
    fixture.server.stop().await;
    let dead = lake.check().await.unwrap_err();
    assert!(matches!(dead, LakeError::Unreachable { .. }), "{dead}");
    assert_eq!(dead.failure().class(), Class::Retryable);
}

#[tokio::test]
async fn a_conditional_put_tells_a_repeat_from_a_conflict() {
    let fixture = Fixture::start().await;
    let key = Prefix::tenant(&fixture.tenant).key("once").unwrap();
    assert!(fixture.lake.put_if_absent(&key, Bytes::from_static(b"a")).await.unwrap());
    assert!(!fixture.lake.put_if_absent(&key, Bytes::from_static(b"a")).await.unwrap());
    let conflict = fixture.lake.put_if_absent(&key, Bytes::from_static(b"b")).await.unwrap_err();
    assert!(matches!(conflict, LakeError::AlreadyExists { .. }), "{conflict}");
    assert_eq!(fixture.lake.get(&key).await.unwrap(), "a");
}

#[tokio::test]
async fn a_prefix_of_more_than_one_page_is_removed_whole() {
    let fixture = Fixture::start().await;
    let prefix = Prefix::tenant(&fixture.tenant);
    let puts = (0..1100).map(|n| {
        let (lake, key) = (fixture.lake.clone(), prefix.epoch(1).key(&format!("o{n}")).unwrap());
        async move { lake.put(&key, Bytes::from_static(b"x")).await }
    });
    let done: Vec<_> = stream::iter(puts).buffer_unordered(16).collect().await;
    assert!(done.iter().all(Result::is_ok));
    let kept = prefix.epoch(11).key("kept").unwrap();
    fixture.lake.put(&kept, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(fixture.lake.delete_prefix(&prefix.epoch(1)).await.unwrap(), 1100);
    assert_eq!(fixture.lake.list(&prefix).await.unwrap().len(), 1);
}
