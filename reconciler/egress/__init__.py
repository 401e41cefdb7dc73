"""The process `hive-egress`: an HTTP proxy on one unix socket per agent. It opens no repo, store or socket of hive."""
