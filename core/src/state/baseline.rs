//! The results of this boot's assessment, passed from `assess` to `commit`.

use std::fs;

use log::warn;

use crate::error::{OrError, Result};
use crate::root::Root;
use crate::state::saved_state::Baseline;

const PATH: &str = "/run/abide/baseline.json";

impl Baseline {
    /// What `assess` left in this boot, if it ran.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let text = fs::read_to_string(root.path(PATH)).ok()?;
        serde_json::from_str(&text).map_err(|e| warn!("{PATH}: cannot parse: {e}")).ok()
    }

    /// Leaves it for `commit`.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        let path = root.path(PATH);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
        }
        let text = serde_json::to_string(self).or_failed(|| "cannot encode the baseline")?;
        fs::write(&path, text).or_failed(|| format!("{}: cannot write", path.display()))
    }
}
