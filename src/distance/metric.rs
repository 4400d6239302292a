//! The metrics by name.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A distance, by SciPy's name.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// `sum((x - y)^2)`, computed directly.
    SqEuclidean,
    /// The root of `SqEuclidean`.
    Euclidean,
    /// `sum(|x - y|)`.
    CityBlock,
    /// `max(|x - y|)`; NaN where a coordinate is, which SciPy passes over.
    Chebyshev,
    /// `sum(|x - y|^p)^(1/p)`, where `p > 0`; `Chebyshev` where `p` is infinite.
    Minkowski(f64),
    /// `1 - x.y / (|x| |y|)`.
    Cosine,
    /// `Cosine` of rows less their means.
    Correlation,
    /// `sum(|x - y| / (|x| + |y|))`, where 0/0 counts 0.
    Canberra,
    /// `sum(|x - y|) / sum(|x + y|)`.
    BrayCurtis,
    /// The share of coordinates that differ.
    Hamming,
    /// `Euclidean` with each coordinate divided by its standard deviation over all rows of both.
    SEuclidean,
    /// The Jensen-Shannon distance of rows as probabilities, to base e. NaN where a coordinate is negative, for which SciPy has infinity.
    JensenShannon,
    /// Of coordinates that are 0 or not: those that differ over those set in either; 0 where none is.
    Jaccard,
    /// Of coordinates that are 0 or not: those that differ over these and twice those set in both. Rows of zeros give NaN.
    Dice,
    /// `2 R / (d + R)`, where R coordinates of d are set in one row alone.
    RogersTanimoto,
    /// The share of coordinates that are not set in both.
    RussellRao,
    /// `2 R / (2 R + T)`, where T are set in both. Rows of zeros give NaN.
    SokalSneath,
    /// `2 P / (T F + P)`, where P is the product of those set in one row alone and F are set in none; 0 where P is.
    Yule,
}

impl Metric {
    /// The metrics without a parameter, and Minkowski with p = 3.
    pub const ALL: [Metric; 18] = [
        Metric::SqEuclidean,
        Metric::Euclidean,
        Metric::CityBlock,
        Metric::Chebyshev,
        Metric::Minkowski(3.0),
        Metric::Cosine,
        Metric::Correlation,
        Metric::Canberra,
        Metric::BrayCurtis,
        Metric::Hamming,
        Metric::SEuclidean,
        Metric::JensenShannon,
        Metric::Jaccard,
        Metric::Dice,
        Metric::RogersTanimoto,
        Metric::RussellRao,
        Metric::SokalSneath,
        Metric::Yule,
    ];
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Minkowski(p) => return write!(f, "minkowski:{p}"),
            Metric::SqEuclidean => "sqeuclidean",
            Metric::Euclidean => "euclidean",
            Metric::CityBlock => "cityblock",
            Metric::Chebyshev => "chebyshev",
            Metric::Cosine => "cosine",
            Metric::Correlation => "correlation",
            Metric::Canberra => "canberra",
            Metric::BrayCurtis => "braycurtis",
            Metric::Hamming => "hamming",
            Metric::SEuclidean => "seuclidean",
            Metric::JensenShannon => "jensenshannon",
            Metric::Jaccard => "jaccard",
            Metric::Dice => "dice",
            Metric::RogersTanimoto => "rogerstanimoto",
            Metric::RussellRao => "russellrao",
            Metric::SokalSneath => "sokalsneath",
            Metric::Yule => "yule",
        })
    }
}

/// From SciPy's name; `minkowski:P` takes its `p` (2 where it is left out).
impl FromStr for Metric {
    type Err = Error;
    fn from_str(s: &str) -> Result<Metric> {
        let fail = |reason: &str| Error::Config { name: "metric", value: s.into(), reason: reason.into() };
        if let Some(p) = s.strip_prefix("minkowski") {
            let p = match p.strip_prefix(':') {
                Some(p) => p.parse().map_err(|_| fail("p is a number"))?,
                None if p.is_empty() => 2.0,
                None => return Err(fail("minkowski:P")),
            };
            if p > 0.0 {
                return Ok(Metric::Minkowski(p));
            }
            return Err(fail("p must be positive"));
        }
        let found = Metric::ALL.iter().find(|m| m.to_string() == s);
        found.copied().ok_or_else(|| {
            let names: Vec<String> = Metric::ALL.iter().map(Metric::to_string).collect();
            fail(&format!("one of {}", names.join(", ")))
        })
    }
}
