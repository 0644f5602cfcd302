//! temporary
use super::golden::Case;
#[test]
fn served() {
    let Some(dir) = std::env::var_os("SERVED") else { return };
    let dir = std::path::PathBuf::from(dir);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "json") { continue }
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let case = stem.rsplit_once('-').unwrap().0.to_owned();
        let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        Case::served(&case, &stem, &document, &dir.join("out"));
    }
}
