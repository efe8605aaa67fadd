use super::{root, tenant};
use bytes::Bytes;
use freehold_domain::{
    Principal,
    ports::{Blobs, CommitError, ReadError, Storage},
};
use std::sync::Arc;

/// Blobs: named by their content, kept by tenant, removed without fuss.
pub async fn blobs_suite(make: impl Fn() -> Arc<dyn Storage>) {
    let store = &*make();
    let (mine, theirs) = (tenant(1), tenant(2));
    let who = root(&mine);
    let contents = [Bytes::new(), "hello".into(), vec![7; 3 << 20].into()];
    for bytes in contents {
        let digest = store.put(&who, &mine, bytes.clone()).await.expect("stored");
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &bytes);
        assert_eq!(digest.0, sha256.as_ref(), "named by SHA-256");
        let again = store.put(&who, &mine, bytes.clone()).await;
        assert_eq!(again, Ok(digest), "storing the same again is fine");
        let read = Blobs::get(store, &who, &mine, digest).await;
        assert_eq!(read, Ok(Some(bytes.clone())));
        let other = Blobs::get(store, &root(&theirs), &theirs, digest).await;
        assert_eq!(
            other,
            Ok(None),
            "the same content of another tenant is another blob"
        );
        for stranger in [root(&theirs), Principal::Anonymous] {
            let read = Blobs::get(store, &stranger, &mine, digest).await;
            assert!(matches!(read, Err(ReadError::Denied { .. })), "{read:?}");
            let put = store.put(&stranger, &mine, bytes.clone()).await;
            assert!(matches!(put, Err(CommitError::Denied { .. })), "{put:?}");
            let removed = store.remove(&stranger, &mine, digest).await;
            assert!(
                matches!(removed, Err(CommitError::Denied { .. })),
                "{removed:?}"
            );
        }
        store
            .put(&root(&theirs), &theirs, bytes.clone())
            .await
            .expect("stored");
        store.remove(&who, &mine, digest).await.expect("removed");
        store
            .remove(&who, &mine, digest)
            .await
            .expect("removing nothing is fine");
        assert_eq!(Blobs::get(store, &who, &mine, digest).await, Ok(None));
        let other = Blobs::get(store, &root(&theirs), &theirs, digest).await;
        assert_eq!(other, Ok(Some(bytes)), "another's stays");
    }
}
