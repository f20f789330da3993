//! The embedded S3 by the bare SDK: the corners of the protocol that leadline and the tools around it stand on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_s3::{
    Client,
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier},
};
use futures::future::join_all;

use crate::fixture::{BUCKET, Fixture};

const PIECE: usize = 5 * 1024 * 1024;

async fn put(sdk: &Client, key: &str, body: impl Into<Vec<u8>>) {
    sdk.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.into())).send().await.unwrap();
}

async fn get(sdk: &Client, key: &str) -> Option<Vec<u8>> {
    match sdk.get_object().bucket(BUCKET).key(key).send().await {
        Ok(answer) => Some(answer.body.collect().await.unwrap().to_vec()),
        Err(error) => {
            assert_eq!(error.code(), Some("NoSuchKey"), "{error:?}");
            None
        }
    }
}

/// All keys and common prefixes, `page` at a time.
async fn list(sdk: &Client, prefix: &str, delimiter: Option<&str>, page: i32) -> Vec<String> {
    let request = sdk.list_objects_v2().bucket(BUCKET).prefix(prefix).set_delimiter(delimiter.map(str::to_owned)).max_keys(page);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        found.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        found.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
    }
    found
}

async fn upload(sdk: &Client, key: &str, pieces: &[Vec<u8>]) -> (String, CompletedMultipartUpload) {
    let begun = sdk.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    let id = begun.upload_id().unwrap().to_owned();
    let mut parts = Vec::new();
    for (number, piece) in (1..).zip(pieces) {
        let body = ByteStream::from(piece.clone());
        let sent = sdk.upload_part().bucket(BUCKET).key(key).upload_id(&id).part_number(number).body(body).send().await;
        parts.push(CompletedPart::builder().part_number(number).e_tag(sent.unwrap().e_tag().unwrap()).build());
    }
    (id, CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_puts_exactly_one_succeeds() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    for round in 0..5 {
        let key = format!("race/{round}");
        let attempts = (0..32).map(|n| {
            let put = sdk.put_object().bucket(BUCKET).key(&key).if_none_match("*").body(vec![n; 1000].into());
            async move { put.send().await.map(|_| n) }
        });
        let results = join_all(attempts).await;
        let winners: Vec<u8> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.code(), Some("PreconditionFailed"));
        }
        assert_eq!(get(&sdk, &key).await.unwrap(), vec![winners[0]; 1000]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_completions_and_replacements_exactly_one_succeeds() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    let uploads = join_all((0..20u8).map(|n| {
        let sdk = sdk.clone();
        async move { upload(&sdk, "race", &[vec![n; 10]]).await }
    }))
    .await;
    let completions = join_all(uploads.into_iter().map(|(id, parts)| {
        let request = sdk.complete_multipart_upload().bucket(BUCKET).key("race").upload_id(id).multipart_upload(parts);
        request.if_none_match("*").send()
    }));
    assert_eq!(completions.await.iter().filter(|result| result.is_ok()).count(), 1);

    // Compare and swap: of those that have seen the same version, one replaces it.
    let seen = sdk.head_object().bucket(BUCKET).key("race").send().await.unwrap().e_tag().unwrap().to_owned();
    let swaps = (0..20u8).map(|n| sdk.put_object().bucket(BUCKET).key("race").if_match(&seen).body(vec![n].into()).send());
    let swaps = join_all(swaps).await;
    assert_eq!(swaps.iter().filter(|result| result.is_ok()).count(), 1);
    let stale = sdk.put_object().bucket(BUCKET).key("race").if_match(&seen).body(vec![1].into()).send().await;
    assert_eq!(stale.unwrap_err().code(), Some("PreconditionFailed"));
    let absent = sdk.put_object().bucket(BUCKET).key("absent").if_match(&seen).body(vec![1].into()).send().await;
    assert_eq!(absent.unwrap_err().code(), Some("PreconditionFailed"));
}

#[tokio::test]
async fn keys_of_every_kind_are_kept_apart_and_found_again() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    let long = format!("{}/{}/{}", "a".repeat(250), "b".repeat(250), "c".repeat(250));
    let mut keys = vec![
        "a",
        "a/b",
        "a/b/c",
        "a-b",
        "a.b",
        "a b",
        "a+b",
        "a%2Fb",
        "100%",
        "ü/é 日本",
        "x//y",
        "x/./y",
        "x/../y",
        "dir/",
        "q?r=s&t#u",
        "_delta_log/00000000000000000000.json",
        &long,
    ];
    for key in &keys {
        put(&sdk, key, *key).await;
    }
    for key in &keys {
        assert_eq!(get(&sdk, key).await.as_deref(), Some(key.as_bytes()), "{key}");
    }
    assert_eq!(get(&sdk, "x/y").await, None);
    assert_eq!(get(&sdk, "x").await, None, "a directory is no object");
    keys.sort_unstable();
    assert_eq!(list(&sdk, "", None, 1000).await, keys, "in the order of their bytes");
    for key in &keys {
        sdk.delete_object().bucket(BUCKET).key(*key).send().await.unwrap();
    }
    assert!(list(&sdk, "", None, 1000).await.is_empty());
    sdk.delete_bucket().bucket(BUCKET).send().await.expect("no directory is left behind");
}

#[tokio::test]
async fn listings_page_in_key_order_by_prefix_and_by_directory() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    let mut keys: Vec<String> = (0..25).map(|n| format!("t1/d{}/part-{n:02}", n % 3)).collect();
    keys.extend(["t1/d1".to_owned(), "t1/d1-x".to_owned(), "t1/d1.y/z".to_owned(), "t10/a".to_owned(), "t2/a".to_owned()]);
    for key in &keys {
        put(&sdk, key, "x").await;
    }
    keys.sort();
    for page in [1, 2, 7, 1000] {
        assert_eq!(list(&sdk, "", None, page).await, keys, "pages of {page}");
        let below: Vec<_> = keys.iter().filter(|key| key.starts_with("t1/d1")).cloned().collect();
        assert_eq!(list(&sdk, "t1/d1", None, page).await, below);
        assert_eq!(list(&sdk, "", Some("/"), page).await, ["t1/", "t10/", "t2/"]);
        let mut children = list(&sdk, "t1/", Some("/"), page).await;
        children.sort();
        assert_eq!(children, ["t1/d0/", "t1/d1", "t1/d1-x", "t1/d1.y/", "t1/d1/", "t1/d2/"]);
    }
    let after = sdk.list_objects_v2().bucket(BUCKET).start_after("t1/zzz").send().await.unwrap();
    assert_eq!(after.contents().iter().map(|o| o.key().unwrap()).collect::<Vec<_>>(), ["t10/a", "t2/a"]);
    assert_eq!(after.contents()[0].size(), Some(1));
    let head = sdk.head_object().bucket(BUCKET).key("t10/a").send().await.unwrap();
    assert_eq!(after.contents()[0].e_tag(), head.e_tag());
    assert!(list(&sdk, "t3/", None, 10).await.is_empty());
    let token = sdk.list_objects_v2().bucket(BUCKET).continuation_token("not hex").send().await.unwrap_err();
    assert_eq!(token.code(), Some("InvalidArgument"));
}

#[tokio::test]
async fn ranges_metadata_and_digests_are_those_of_s3() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    let body: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    let request = sdk.put_object().bucket(BUCKET).key("o").body(body.clone().into());
    request.content_type("text/csv").metadata("origin", "test").send().await.unwrap();

    let whole = sdk.get_object().bucket(BUCKET).key("o").send().await.unwrap();
    assert_eq!(whole.content_type(), Some("text/csv"));
    assert_eq!(whole.metadata().unwrap()["origin"], "test");
    assert_eq!(whole.body.collect().await.unwrap().to_vec(), body);
    for (range, expected) in [
        ("bytes=0-0", &body[..1]),
        ("bytes=1000-300000", &body[1000..=300_000]),
        ("bytes=699999-", &body[699_999..]),
        ("bytes=-12", &body[699_988..]),
        ("bytes=699990-800000", &body[699_990..]),
    ] {
        let part = sdk.get_object().bucket(BUCKET).key("o").range(range).send().await.unwrap();
        assert!(part.content_range().unwrap().ends_with("/700000"), "{range}");
        assert_eq!(part.body.collect().await.unwrap().to_vec(), expected, "{range}");
    }
    let outside = sdk.get_object().bucket(BUCKET).key("o").range("bytes=700000-").send().await.unwrap_err();
    assert_eq!(outside.code(), Some("InvalidRange"));

    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Sha256] {
        let request = sdk.put_object().bucket(BUCKET).key("checked").checksum_algorithm(algorithm).body(body.clone().into());
        request.send().await.unwrap();
    }
    put(&sdk, "o", "the object before").await;
    let wrong = sdk.put_object().bucket(BUCKET).key("o").checksum_crc32("AAAAAA==").body(body.clone().into()).send().await;
    assert_eq!(wrong.unwrap_err().code(), Some("BadDigest"));
    let wrong = sdk.put_object().bucket(BUCKET).key("o").content_md5("AAAAAAAAAAAAAAAAAAAAAA==").body(body.into()).send().await;
    assert_eq!(wrong.unwrap_err().code(), Some("BadDigest"));
    assert_eq!(get(&sdk, "o").await.unwrap(), b"the object before", "a refused body is never seen");
}

#[tokio::test]
async fn a_multipart_upload_appears_whole_once_or_not_at_all() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    put(&sdk, "m", "the object before").await;
    let pieces = [vec![1; PIECE], vec![2; PIECE], vec![3; 10]];
    let (id, parts) = upload(&sdk, "m", &pieces).await;
    assert_eq!(get(&sdk, "m").await.unwrap(), b"the object before");
    assert_eq!(list(&sdk, "", None, 10).await, ["m"], "parts are no objects");
    let listed = sdk.list_parts().bucket(BUCKET).key("m").upload_id(&id).send().await.unwrap();
    assert_eq!(listed.parts().iter().map(|part| part.part_number().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);

    let complete = |parts| sdk.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(&id).multipart_upload(parts).send();
    let mut forged = parts.parts().to_vec();
    forged[1] = CompletedPart::builder().part_number(2).e_tag("\"other\"").build();
    let forged = CompletedMultipartUpload::builder().set_parts(Some(forged)).build();
    assert_eq!(complete(forged).await.unwrap_err().code(), Some("InvalidPart"));
    let first = complete(parts.clone()).await.unwrap();
    let again = complete(parts).await.expect("a completion whose answer was lost may be repeated");
    assert_eq!(first.e_tag(), again.e_tag());
    assert_eq!(get(&sdk, "m").await.unwrap(), pieces.concat());

    let (id, parts) = upload(&sdk, "n", &[vec![1; 10], vec![2; 10]]).await;
    let small = sdk.complete_multipart_upload().bucket(BUCKET).key("n").upload_id(&id).multipart_upload(parts).send().await;
    assert_eq!(small.unwrap_err().code(), Some("EntityTooSmall"));
    sdk.abort_multipart_upload().bucket(BUCKET).key("n").upload_id(&id).send().await.unwrap();
    let late = sdk.upload_part().bucket(BUCKET).key("n").upload_id(&id).part_number(3).body(vec![1].into()).send().await;
    assert_eq!(late.unwrap_err().code(), Some("NoSuchUpload"));
    assert_eq!(get(&sdk, "n").await, None);
    let uploads = fixture.directory.path().join("uploads");
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0, "neither upload leaves a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_listings_see_only_whole_objects_while_writers_and_deleters_run() {
    let fixture = Fixture::start().await;
    let sdk = fixture.sdk();
    let done = Arc::new(AtomicBool::new(false));
    let writer = |n: u8| {
        let (sdk, done) = (sdk.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                put(&sdk, "hot/x/y", vec![n; 300_000]).await;
                let identifiers = vec![ObjectIdentifier::builder().key("hot/x/y").build().unwrap()];
                let delete = Delete::builder().set_objects(Some(identifiers)).build().unwrap();
                sdk.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
            }
        })
    };
    let writers = [writer(1), writer(2), writer(3)];
    let (mut whole, mut listed) = (0, 0);
    while whole < 30 || listed < 30 {
        if let Some(body) = get(&sdk, "hot/x/y").await {
            assert!(body.len() == 300_000 && body.iter().all(|byte| *byte == body[0]), "a torn body of {} bytes", body.len());
            whole += 1;
        }
        listed += list(&sdk, "hot/", None, 10).await.len();
    }
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(list(&sdk, "", Some("/"), 10).await.is_empty(), "every writer has removed what it wrote");
}
