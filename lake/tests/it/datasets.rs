use futures::TryStreamExt;
use leadline_domain::{Class, OperationId, TenantId, value::Value};
use leadline_lake::{Dataset, LakeError, Manifest, PartInfo, PartWriter, Prefix};

use crate::fixture::{Fixture, rows, schema};

impl Fixture {
    fn manifest(&self, epoch: i64, parts: Vec<PartInfo>) -> Manifest {
        Manifest::new(&self.tenant, &self.operation, epoch, schema(), 1, parts).unwrap()
    }

    async fn open(&self) -> Result<Dataset, LakeError> {
        Dataset::open(&self.lake, &self.tenant, &self.operation.dataset()).await
    }

    async fn keys(&self) -> Vec<String> {
        let objects = self.lake.list(&Prefix::tenant(&self.tenant)).await.unwrap();
        objects.into_iter().map(|object| object.key.to_string()).collect()
    }
}

async fn read(dataset: &Dataset) -> Result<Vec<Vec<Value>>, LakeError> {
    dataset.rows(700).try_concat().await
}

#[tokio::test]
async fn a_data_set_is_invisible_until_its_commit_and_reads_back_row_for_row() {
    let fixture = Fixture::start().await;
    let parts = vec![fixture.part(1, 1, rows(0..2500)).await, fixture.part(1, 2, rows(2500..2600)).await];
    assert!(matches!(fixture.open().await, Err(LakeError::DatasetNotFound(_))));

    let manifest = fixture.manifest(1, parts);
    assert!(fixture.lake.commit_dataset(&manifest).await.unwrap());
    assert!(!fixture.lake.commit_dataset(&manifest).await.unwrap(), "a repeated commit is a no-op");

    let dataset = fixture.open().await.unwrap();
    assert_eq!(dataset.manifest(), &manifest);
    assert_eq!(manifest.rows, 2600);
    assert_eq!(read(&dataset).await.unwrap(), rows(0..2600));
}

#[tokio::test]
async fn the_content_address_depends_on_the_rows_alone() {
    let fixture = Fixture::start().await;
    let whole = fixture.manifest(1, vec![fixture.part(1, 1, rows(0..300)).await]);
    let mut shuffled = rows(0..300);
    shuffled.reverse();
    let (head, tail) = shuffled.split_at(17);
    let parts = vec![fixture.part(2, 1, head.to_vec()).await, fixture.part(2, 2, tail.to_vec()).await];
    let cut = fixture.manifest(2, parts);
    assert_eq!(whole.content_address, cut.content_address);

    let fewer = fixture.manifest(3, vec![fixture.part(3, 1, rows(0..299)).await]);
    assert_ne!(whole.content_address, fewer.content_address);
    let empty = fixture.manifest(4, vec![]);
    assert_eq!(empty.rows, 0);
    assert_ne!(empty.content_address, fewer.content_address);
}

#[tokio::test]
async fn of_many_commits_at_once_exactly_one_wins() {
    let fixture = Fixture::start().await;
    let mut attempts = Vec::new();
    for epoch in 1..=20 {
        attempts.push(fixture.manifest(epoch, vec![fixture.part(epoch, 1, rows(0..10)).await]));
    }
    let commits = futures::future::join_all(attempts.iter().map(|m| fixture.lake.commit_dataset(m))).await;
    let winners: Vec<_> = commits.iter().enumerate().filter(|(_, c)| matches!(c, Ok(true))).collect();
    assert_eq!(winners.len(), 1, "{commits:?}");
    assert_eq!(commits.iter().filter(|c| matches!(c, Err(LakeError::AlreadyExists { .. }))).count(), 19, "{commits:?}");
    let dataset = fixture.open().await.unwrap();
    assert_eq!(dataset.manifest(), &attempts[winners[0].0]);
    assert_eq!(read(&dataset).await.unwrap().len(), 10);
}

#[tokio::test]
async fn an_undo_removes_its_own_epoch_and_never_what_is_committed() {
    let fixture = Fixture::start().await;
    let dataset = fixture.operation.dataset();
    fixture.part(1, 1, rows(0..10)).await;
    let kept = fixture.part(2, 1, rows(0..10)).await;
    assert_eq!(fixture.lake.withdraw_dataset(&fixture.tenant, &dataset, 1).await.unwrap(), 1);
    assert_eq!(fixture.keys().await, std::slice::from_ref(&kept.key));

    // What a dead attempt of the same epoch has left goes with the commit.
    fixture.part(2, 1, rows(0..10)).await;
    let manifest = fixture.manifest(2, vec![kept.clone()]);
    fixture.lake.commit_dataset(&manifest).await.unwrap();
    assert_eq!(fixture.keys().await, [kept.key.clone(), manifest.key().to_string()]);

    assert_eq!(fixture.lake.withdraw_dataset(&fixture.tenant, &dataset, 1).await.unwrap(), 0);
    assert!(fixture.open().await.is_ok());

    assert_eq!(fixture.lake.withdraw_dataset(&fixture.tenant, &dataset, 2).await.unwrap(), 2);
    assert_eq!(fixture.lake.withdraw_dataset(&fixture.tenant, &dataset, 2).await.unwrap(), 0, "an undo repeats");
    assert!(fixture.keys().await.is_empty());
}

#[tokio::test]
async fn a_deleted_data_set_leaves_nothing_and_its_neighbour_alone() {
    let fixture = Fixture::start().await;
    let manifest = fixture.manifest(1, vec![fixture.part(1, 1, rows(0..10)).await]);
    fixture.lake.commit_dataset(&manifest).await.unwrap();
    let neighbour = Fixture { operation: OperationId::random(), ..fixture };
    let kept = neighbour.part(1, 1, rows(0..10)).await;

    assert_eq!(neighbour.lake.delete_dataset(&neighbour.tenant, &manifest.dataset).await.unwrap(), 2);
    assert_eq!(neighbour.lake.delete_dataset(&neighbour.tenant, &manifest.dataset).await.unwrap(), 0);
    assert_eq!(neighbour.keys().await, [kept.key]);
}

#[tokio::test]
async fn a_damaged_part_delivers_no_row() {
    let fixture = Fixture::start().await;
    let part = fixture.part(1, 1, rows(0..5000)).await;
    let manifest = fixture.manifest(1, vec![part.clone()]);
    fixture.lake.commit_dataset(&manifest).await.unwrap();
    let key = Prefix::tenant(&fixture.tenant).parse(&part.key).unwrap();
    let mut body = fixture.lake.get(&key).await.unwrap().to_vec();
    body[100] ^= 1;
    fixture.lake.put(&key, body.into()).await.unwrap();

    let mut rows = fixture.open().await.unwrap().rows(100);
    let error = rows.try_next().await.unwrap_err();
    assert!(matches!(error, LakeError::Corrupt { .. }), "{error}");
    assert_eq!(error.failure().class(), Class::NeedsOperator);
    assert!(rows.try_next().await.unwrap().is_none(), "the stream ends after its error");
}

#[tokio::test]
async fn a_manifest_that_reaches_into_another_tenant_or_does_not_add_up_is_refused() {
    let fixture = Fixture::start().await;
    let part = fixture.part(1, 1, rows(0..10)).await;
    let stranger = TenantId::random();
    let foreign = Manifest::new(&stranger, &fixture.operation, 1, schema(), 1, vec![part.clone()]);
    assert!(matches!(foreign, Err(LakeError::Invalid { .. })), "{foreign:?}");

    let mut forged = fixture.manifest(1, vec![part]);
    forged.parts[0].key = forged.parts[0].key.replace(fixture.tenant.as_str(), stranger.as_str());
    fixture.lake.put(&forged.key(), serde_json::to_vec(&forged).unwrap().into()).await.unwrap();
    assert!(fixture.open().await.is_err());

    let mut short = fixture.manifest(1, vec![fixture.part(1, 2, rows(0..10)).await]);
    short.rows = 9;
    fixture.lake.put(&short.key(), serde_json::to_vec(&short).unwrap().into()).await.unwrap();
    assert!(matches!(fixture.open().await, Err(LakeError::Corrupt { .. })));
}

#[tokio::test]
async fn a_large_part_goes_up_in_pieces_and_an_abandoned_one_leaves_nothing() {
    let fixture = Fixture::start().await;
    // Incompressible text, so that the file takes several pieces.
    let noise = |n: u64| {
        (0..6)
            .map(|i| format!("{:032x}", u128::from(n * 7 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)))
            .collect::<String>()
    };
    let row = |n: u64| vec![Value::Text(format!("{n}")), Value::Number(n as f64), Value::Text(noise(n))];
    let large: Vec<_> = (0..140_000).map(row).collect();
    let part = fixture.part(1, 1, large.clone()).await;
    assert!(part.bytes > 8 * 1024 * 1024, "{} bytes take one piece", part.bytes);
    let manifest = fixture.manifest(1, vec![part]);
    fixture.lake.commit_dataset(&manifest).await.unwrap();
    let back = read(&fixture.open().await.unwrap()).await.unwrap();
    assert!(back == large, "the rows of a large part changed");

    let dataset = fixture.operation.dataset();
    let mut abandoned = PartWriter::new(&fixture.lake, &fixture.tenant, &dataset, 2, 1, &schema()).unwrap();
    for batch in large.chunks(20_000) {
        abandoned.append(batch.to_vec()).await.unwrap();
    }
    drop(abandoned);
    fixture.lake.withdraw_dataset(&fixture.tenant, &dataset, 2).await.unwrap();
    let open = fixture.sdk().list_multipart_uploads().bucket(crate::fixture::BUCKET).send().await.unwrap();
    assert!(open.uploads().is_empty(), "{open:?}");
    assert_eq!(fixture.keys().await.len(), 2);
}

#[tokio::test]
async fn a_row_that_does_not_fit_fails_the_part_and_nothing_appears() {
    let fixture = Fixture::start().await;
    let dataset = fixture.operation.dataset();
    let mut writer = PartWriter::new(&fixture.lake, &fixture.tenant, &dataset, 1, 1, &schema()).unwrap();
    writer.append(vec![vec![Value::Boolean(true), Value::Null, Value::Null]]).await.unwrap();
    let error = writer.append(rows(0..1)).await.unwrap_err();
    assert!(matches!(error, LakeError::SchemaMismatch { .. }), "{error}");
    assert_eq!(error.failure().class(), Class::Terminal);
    assert!(writer.finish().await.is_err());
    assert!(fixture.keys().await.is_empty());
}
