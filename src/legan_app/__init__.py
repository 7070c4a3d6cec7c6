"""`legan app`: the editor as a page in the browser (extra `app`): serve -> page -> visits; controls say what a page asks for."""
