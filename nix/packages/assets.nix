# What browsers are served besides hive's own files, as `make setup` fetches it from npm (tests/support/get-assets.sh).
# The versions and hashes are those of api/ui/assets/package-lock.json; a test compares them.
{
  fetchurl,
  runCommand,
}:
let
  package =
    {
      pname,
      version,
      hash,
    }:
    fetchurl {
      url = "mirror://npm/${pname}/-/${pname}-${version}.tgz";
      inherit hash;
    };
  packages = {
    htmx = package {
      pname = "htmx.org";
      version = "4.0.1";
      hash = "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg==";
    };
    uplot = package {
      pname = "uplot";
      version = "1.6.32";
      hash = "sha512-KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==";
    };
  };
in
runCommand "hive-dashboard-assets" { passthru = { inherit packages; }; } ''
  mkdir -p $out htmx uplot
  tar -xzf ${packages.htmx} -C htmx --strip-components=1
  tar -xzf ${packages.uplot} -C uplot --strip-components=1
  cp htmx/dist/htmx.min.js htmx/dist/ext/hx-sse.min.js uplot/dist/uPlot.iife.min.js uplot/dist/uPlot.min.css $out
  cp htmx/LICENSE $out/htmx.org.LICENSE
  cp uplot/LICENSE $out/uplot.LICENSE
''
