use bytes::Bytes;
use leadline_domain::TenantId;
use leadline_lake::{LakeError, Prefix};

use crate::fixture::Fixture;

#[tokio::test]
async fn an_artifact_is_named_by_its_content_and_checked_when_read() {
    let fixture = Fixture::start().await;
    let (lake, tenant, model) = (&fixture.lake, &fixture.tenant, fixture.operation.model());
    let body = Bytes::from_static(b"{\"trees\":[]}");
    let artifact = lake.put_artifact(tenant, &model, 1, "model.json", body.clone()).await.unwrap();
    let again = lake.put_artifact(tenant, &model, 1, "model.json", body.clone()).await.unwrap();
    assert_eq!(artifact, again);
    assert!(artifact.key.contains(&artifact.sha256));
    assert_eq!(lake.get_artifact(tenant, &artifact.key, &artifact.sha256).await.unwrap(), body);

    assert!(lake.put_artifact(tenant, &model, 1, "../escape", body.clone()).await.is_err());
    assert!(matches!(
        lake.get_artifact(&TenantId::random(), &artifact.key, &artifact.sha256).await,
        Err(LakeError::Invalid { .. })
    ));

    let key = Prefix::tenant(tenant).parse(&artifact.key).unwrap();
    lake.put(&key, Bytes::from_static(b"other")).await.unwrap();
    assert!(matches!(lake.get_artifact(tenant, &artifact.key, &artifact.sha256).await, Err(LakeError::Corrupt { .. })));
}

#[tokio::test]
async fn an_undo_removes_the_artifacts_of_its_epoch_only() {
    let fixture = Fixture::start().await;
    let (lake, tenant, model) = (&fixture.lake, &fixture.tenant, fixture.operation.model());
    lake.put_artifact(tenant, &model, 1, "model.json", Bytes::from_static(b"a")).await.unwrap();
    lake.put_artifact(tenant, &model, 1, "card.json", Bytes::from_static(b"b")).await.unwrap();
    let kept = lake.put_artifact(tenant, &model, 11, "model.json", Bytes::from_static(b"a")).await.unwrap();
    assert_eq!(lake.discard_artifacts(tenant, &model, 1).await.unwrap(), 2);
    assert_eq!(lake.discard_artifacts(tenant, &model, 1).await.unwrap(), 0);
    assert_eq!(lake.get_artifact(tenant, &kept.key, &kept.sha256).await.unwrap(), "a");
}
