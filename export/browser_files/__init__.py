"""The files of the page that runs a policy in a browser; `edgedqn.export.browser` copies them."""
