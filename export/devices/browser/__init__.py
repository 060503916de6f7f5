"""A browser: `bundle` writes a page that runs the policy, of the files in `page/`; `litert_js` fetches its runtime once."""
