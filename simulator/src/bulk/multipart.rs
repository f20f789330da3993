//! `multipart/form-data` bodies, as far as a job with its data in one request needs them (RFC 7578).

/// The boundary that a content type names, if it is multipart.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    if !content_type.get(..19)?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let parameter = content_type.split(';').map(str::trim).find_map(|part| part.strip_prefix("boundary="))?;
    Some(parameter.trim_matches('"').to_owned())
}

/// Name and content of each part.
pub(super) fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let delimiter = format!("--{boundary}");
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(start) = position(rest, delimiter.as_bytes()) {
        rest = &rest[start + delimiter.len()..];
        let end = position(rest, delimiter.as_bytes()).unwrap_or(rest.len());
        let part = &rest[..end];
        if let Some(head_end) = position(part, b"\r\n\r\n") {
            let content = &part[head_end + 4..];
            let content = content.strip_suffix(b"\r\n").unwrap_or(content);
            found.extend(name(&part[..head_end]).map(|name| (name, content)));
        }
    }
    found
}

fn name(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let value = disposition.split(';').map(str::trim).find_map(|part| part.strip_prefix("name="))?;
    Some(value.trim_matches('"').to_owned())
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_are_found_whatever_the_boundary_looks_like() {
        let boundary = boundary("multipart/form-data; boundary=\"BOUNDARY\"").unwrap();
        let body = b"--BOUNDARY\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n{}\r\n\
            --BOUNDARY\r\nContent-Type: text/csv\r\nContent-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\n\
            a,b\n1,2\n\r\n--BOUNDARY--\r\n";
        let parts = parts(body, &boundary);
        assert_eq!(parts, [("job".to_owned(), b"{}".as_slice()), ("content".to_owned(), b"a,b\n1,2\n".as_slice())]);
        assert_eq!(super::boundary("application/json"), None);
    }
}
