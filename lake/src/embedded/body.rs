//! A request body on its way to disk, checked against every digest that the client declared, before anyone can see it.

use s3s::{
    S3Error, S3Result, TrailingHeaders,
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Md5},
    dto::{Checksum, ChecksumAlgorithm, StreamingBlob},
    s3_error,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncWriteExt, BufWriter};

const WRITE_BUFFER: usize = 256 * 1024;

/// What the client says about the body: in headers, or in trailers that arrive after it.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub checksum: Checksum,
    pub algorithm: Option<ChecksumAlgorithm>,
    /// The `x-amz-trailer` header: names of the trailers to come.
    pub announced: String,
    pub trailers: Option<TrailingHeaders>,
    pub content_md5: Option<String>,
}

/// Collects what a `PutObject` or an `UploadPart` request declares; the two inputs are different types with the same fields.
macro_rules! declared {
    ($request:expr) => {{
        let input = &mut $request.input;
        $crate::embedded::body::Declared {
            checksum: s3s::dto::Checksum {
                checksum_crc32: input.checksum_crc32.take(),
                checksum_crc32c: input.checksum_crc32c.take(),
                checksum_crc64nvme: input.checksum_crc64nvme.take(),
                checksum_sha1: input.checksum_sha1.take(),
                checksum_sha256: input.checksum_sha256.take(),
                ..Default::default()
            },
            algorithm: input.checksum_algorithm.take(),
            announced: $request.headers.get("x-amz-trailer").and_then(|names| names.to_str().ok()).unwrap_or_default().to_owned(),
            trailers: $request.trailing_headers.take(),
            content_md5: input.content_md5.take(),
        }
    }};
}
pub(super) use declared;

impl Declared {
    fn hasher(&self) -> ChecksumHasher {
        let wanted = |name: &str, value: &Option<String>| {
            value.is_some()
                || self.algorithm.as_ref().is_some_and(|a| a.as_str().eq_ignore_ascii_case(name))
                || self.announced.split(',').any(|trailer| trailer.trim() == format!("x-amz-checksum-{name}"))
        };
        ChecksumHasher {
            crc32: wanted("crc32", &self.checksum.checksum_crc32).then(Default::default),
            crc32c: wanted("crc32c", &self.checksum.checksum_crc32c).then(Default::default),
            crc64nvme: wanted("crc64nvme", &self.checksum.checksum_crc64nvme).then(Default::default),
            sha1: wanted("sha1", &self.checksum.checksum_sha1).then(Default::default),
            sha256: wanted("sha256", &self.checksum.checksum_sha256).then(Default::default),
        }
    }

    fn check(self, computed: &Checksum) -> S3Result<()> {
        let trailers = self.trailers.and_then(|t| t.take());
        let expected = |declared: Option<String>, name: &str| {
            let trailer = || trailers.as_ref()?.get(name)?.to_str().ok().map(str::to_owned);
            declared.or_else(trailer)
        };
        let pairs = [
            (expected(self.checksum.checksum_crc32, "x-amz-checksum-crc32"), &computed.checksum_crc32),
            (expected(self.checksum.checksum_crc32c, "x-amz-checksum-crc32c"), &computed.checksum_crc32c),
            (expected(self.checksum.checksum_crc64nvme, "x-amz-checksum-crc64nvme"), &computed.checksum_crc64nvme),
            (expected(self.checksum.checksum_sha1, "x-amz-checksum-sha1"), &computed.checksum_sha1),
            (expected(self.checksum.checksum_sha256, "x-amz-checksum-sha256"), &computed.checksum_sha256),
        ];
        if pairs.iter().any(|(expected, computed)| expected.is_some() && expected != *computed) {
            return Err(s3_error!(BadDigest, "The checksum you specified did not match what we received"));
        }
        Ok(())
    }
}

/// A whole, checked body in a temporary file, not yet sealed.
#[derive(Debug)]
pub(super) struct Received {
    pub file: NamedTempFile,
    /// SHA-256 of the body in hex.
    pub e_tag: String,
}

/// # Errors
/// `IncompleteBody`, `BadDigest`, and what the signature check of a streamed body finds.
pub(super) async fn receive(file: NamedTempFile, body: Option<StreamingBlob>, declared: Declared) -> S3Result<Received> {
    let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let mut checksums = declared.hasher();
    let mut md5 = declared.content_md5.as_ref().map(|_| Md5::new());
    let mut sha256 = Sha256::new();

    let out = file.as_file().try_clone().map_err(S3Error::internal_error)?;
    let mut out = BufWriter::with_capacity(WRITE_BUFFER, tokio::fs::File::from_std(out));
    while let Some(bytes) = body.next().await {
        // An error of the stream may be the client's: its source tells a wrong digest or signature from a broken connection.
        let bytes = bytes.map_err(|error| s3_error!(std::io::Error::other(error), IncompleteBody))?;
        sha256.update(&bytes);
        checksums.update(&bytes);
        if let Some(md5) = md5.as_mut() {
            md5.update(&bytes);
        }
        out.write_all(&bytes).await.map_err(S3Error::internal_error)?;
    }
    out.flush().await.map_err(S3Error::internal_error)?;

    if md5.map(|md5| BASE64_STANDARD.encode(md5.finalize())) != declared.content_md5 {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received"));
    }
    declared.check(&checksums.finalize())?;
    Ok(Received { file, e_tag: hex::encode(sha256.finalize()) })
}
