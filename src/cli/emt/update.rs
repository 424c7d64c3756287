//! `os-update.sh`: writes, applies and boots an image with its checksum.

use std::fs;
use std::io::Read;
use std::path::Path;

use log::warn;

use crate::cli::emt::support::{Job, context, exit_code, usage};
use crate::cli::emt::tool;
use crate::cli::{Context, apply, output};
use crate::image::trust::Keys;
use crate::image::{Source, sha256};
use crate::url;
use abide_core::error::{Error, OrError, Result};
use abide_core::logger;

/// The name it is called by.
pub const NAME: &str = "os-update.sh";

/// The upper bound of a checksum file in bytes; it has one line.
const MAX_CHECKSUM_FILE: u64 = 64 * 1024;

const HELP: &str = "\
Usage: os-update.sh IMAGE SHA256
       os-update.sh -i IMAGE -c SHAFILE
       os-update.sh -u IMAGE_URL SHA_URL
       os-update.sh -u BASE_URL -r RELEASE -v BUILD

Writes the image into the other slot, puts it on trial and reboots. The checksum is a
SHA-256 digest, or a file with a line that starts with one. With -r and -v the image is
BASE_URL/edge-readonly-RELEASE.BUILD-signed.raw.gz, and its checksum is in the file of the same
name with the suffix .sha256sum.

It does not carry over users or configuration from the running system, and installs no
script that does so after the reboot: keep them on a separate partition, or use EMT's
own os-update.sh, which works with Abide's os-update-tool.sh.

  -o  Accepted for EMT's OXM mode, which differs in what is carried over
  -h  Show this help";

/// An image and its checksum.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    image: String,
    /// 64 digits, or the path or URL of a file.
    checksum: String,
}

/// Runs what the flags request; returns the exit code.
pub fn run(args: &[String]) -> u8 {
    let request = match Request::parse(args) {
        Ok(Some(request)) => request,
        Ok(None) => {
            output::say(HELP);
            return 0;
        }
        Err(why) => return usage(NAME, HELP, Some(&why)),
    };
    logger::start(0, false);
    exit_code(request.perform())
}

impl Request {
    /// `None`: help was requested.
    fn parse(args: &[String]) -> std::result::Result<Option<Self>, String> {
        let (mut image, mut checksum, mut url, mut release, mut build) = (None, None, None, None, None);
        let mut plain = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let slot = match arg.as_str() {
                "-h" => return Ok(None),
                "-o" => continue,
                "-i" => &mut image,
                "-c" => &mut checksum,
                "-u" => &mut url,
                "-r" => &mut release,
                "-v" => &mut build,
                flag if flag.starts_with('-') => return Err(format!("invalid option {flag}")),
                word => {
                    plain.push(word.to_owned());
                    continue;
                }
            };
            *slot = Some(args.next().ok_or_else(|| format!("{arg} needs a value"))?.clone());
        }
        let request = match (image, checksum, url, release, build, plain.as_slice()) {
            (Some(image), Some(checksum), None, None, None, []) => Self { image, checksum },
            (None, None, Some(base), Some(release), Some(build), []) => {
                Self::published(&base, &release, &build)
            }
            (None, None, Some(url), None, None, [checksum]) => {
                Self { image: url, checksum: checksum.clone() }
            }
            (None, None, None, None, None, [image, checksum]) => {
                Self { image: image.clone(), checksum: checksum.clone() }
            }
            _ => return Err("an image and its checksum are required".into()),
        };
        Ok(Some(request))
    }

    /// Where a release's files are published.
    fn published(base: &str, release: &str, build: &str) -> Self {
        let image = format!("{}/edge-readonly-{release}.{build}-signed.raw.gz", base.trim_end_matches('/'));
        Self { checksum: format!("{image}.sha256sum"), image }
    }

    fn perform(&self) -> std::result::Result<(), (Job, Error)> {
        let context = context().map_err(|e| (Job::Look, e))?;
        warn!("users and configuration of the running system are not carried over to the new one");
        let sha256 = self.sha256(&context).map_err(|e| (Job::Look, e))?;
        tool::write_image(&context, &self.image, Some(&sha256)).map_err(|e| (Job::Write, e))?;
        apply::run(&context, &apply::Args { reboot: true }).map_err(|e| (Job::Apply, e))
    }

    fn sha256(&self, context: &Context) -> Result<String> {
        if sha256::parse(&self.checksum).is_some() {
            return Ok(self.checksum.clone());
        }
        if !url::is_http(&self.checksum) && !Path::new(&self.checksum).is_file() {
            return Err(Error::Usage(format!(
                "{}: is neither a SHA-256 digest nor a file with one",
                self.checksum
            )));
        }
        let text = if url::is_http(&self.checksum) {
            refuse_unsigned(context, &self.checksum)?;
            let source = Source::open(&self.checksum, &context.load_config()?.download)?;
            read_text(source.reader, &self.checksum)?
        } else {
            let file =
                fs::File::open(&self.checksum).or_failed(|| format!("{}: cannot open", self.checksum))?;
            read_text(file, &self.checksum)?
        };
        first_sha256(&text)
            .ok_or_else(|| Error::Usage(format!("{}: contains no SHA-256 digest", self.checksum)))
    }
}

/// A digest from a server vouches for nothing: who can replace the image can replace it. Where images are signed, the
/// signature decides; where nothing is configured, that is an error.
fn refuse_unsigned(context: &Context, checksum: &str) -> Result<()> {
    let trust = context.load_config()?.trust;
    if trust.policy.is_none() && Keys::load(&context.root)?.is_empty() {
        return Err(Error::Unverified(format!(
            "{}: a checksum from a server does not prove who published the image; give its digits, install a key in \
             /etc/abide/keys, or set policy = \"digest\" in [trust] of the configuration",
            url::shown(checksum)
        )));
    }
    Ok(())
}

fn read_text(reader: impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_CHECKSUM_FILE).read_to_end(&mut bytes).or_image(|| format!("{name}: cannot read"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first SHA-256 at the start of a line, as `sha256sum` writes it.
fn first_sha256(text: &str) -> Option<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).find_map(sha256::parse)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Option<(String, String)> {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Request::parse(&args).unwrap().map(|r| (r.image, r.checksum))
    }

    #[test]
    fn each_form_names_an_image_and_a_checksum() {
        let pair = Some(("a.raw.gz".to_owned(), "b".to_owned()));
        assert_eq!(parse("a.raw.gz b"), pair);
        assert_eq!(parse("-i a.raw.gz -c b"), pair);
        assert_eq!(parse("-u a.raw.gz b"), pair);
        let (image, checksum) = parse("-u https://x.example/y/ -r 3.0 -v 2025").unwrap();
        assert_eq!(image, "https://x.example/y/edge-readonly-3.0.2025-signed.raw.gz");
        assert_eq!(checksum, format!("{image}.sha256sum"));
        assert_eq!(parse("-h"), None);
    }

    #[test]
    fn an_incomplete_command_line_is_refused() {
        for line in ["a.raw.gz", "-i a.raw.gz", "-u x", "-x", "-i", "-i a -c b c"] {
            let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(Request::parse(&args).is_err(), "{line}");
        }
    }

    #[test]
    fn a_checksum_is_found_as_sha256sum_writes_it() {
        let sha = "AB".repeat(32);
        assert_eq!(first_sha256(&format!("# x\n{sha}  a.raw.gz\n")).unwrap(), sha.to_lowercase());
        assert_eq!(first_sha256("nothing"), None);
    }
}
