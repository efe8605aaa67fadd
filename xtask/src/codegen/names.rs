//! Names of the model in the case that Rust wants them.

/// `KMSKeyArn` → `kms_key_arn`, `CodeSha256` → `code_sha256`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, &c) in chars.iter().enumerate() {
        let before = index.checked_sub(1).map(|at| chars[at]);
        let after = chars.get(index + 1).copied();
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase()
                    || after.is_some_and(|after| after.is_ascii_lowercase())
            });
        if starts_word {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    match snake.as_str() {
        "type" => "r#type".into(),
        _ => snake,
    }
}

/// `FunctionName` → `FUNCTION_NAME`.
pub(crate) fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// A member's name in the service's texts: `FunctionName` → `functionName`.
pub(crate) fn in_texts(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_spelling_of_the_models() {
        let check = |name, expected| assert_eq!(snake(name), expected);
        check("KMSKeyArn", "kms_key_arn");
        check("CodeSha256", "code_sha256");
        check("PrincipalOrgID", "principal_org_id");
        check("S3ObjectVersion", "s3_object_version");
        check("nextToken", "next_token");
        assert_eq!(in_texts("KMSKeyArn"), "kMSKeyArn");
    }
}
