/* All sampling fields of a request, as the worker takes them: the controls of both views are made from this table, and only
 * what differs from `fallback` is sent. The table is JSON: a test compares it with the description of the routes.
 * kind: range (a number with a slider), number, words (a text in each line), list (numbers), json, check, choice. */
const SAMPLING = [
	{"name": "temperature", "label": "Temperature", "group": "main", "kind": "range", "min": 0, "max": 2, "step": 0.05, "fallback": 1, "hint": "0 takes the likeliest token, always"},
	{"name": "top_p", "label": "Top p", "group": "main", "kind": "range", "min": 0, "max": 1, "step": 0.01, "fallback": 1, "hint": "The likeliest tokens that sum to it"},
	{"name": "max_tokens", "label": "Most tokens", "group": "main", "kind": "number", "min": 1, "max": null, "step": 1, "fallback": null, "hint": "Empty: as many as the context holds"},
	{"name": "seed", "label": "Seed", "group": "main", "kind": "number", "min": 0, "max": null, "step": 1, "fallback": null, "hint": "The same seed gives the same tokens"},
	{"name": "stop", "label": "Stop at", "group": "main", "kind": "words", "fallback": null, "hint": "A text in each line"},

	{"name": "top_k", "label": "Top k", "group": "cut", "kind": "number", "min": 0, "max": null, "step": 1, "fallback": 0, "hint": "So many of the likeliest; 0: all"},
	{"name": "min_p", "label": "Min p", "group": "cut", "kind": "range", "min": 0, "max": 1, "step": 0.01, "fallback": 0, "hint": "At least so likely as this times the likeliest"},
	{"name": "typical_p", "label": "Typical p", "group": "cut", "kind": "range", "min": 0.01, "max": 1, "step": 0.01, "fallback": 1, "hint": "Tokens about as surprising as is usual here"},
	{"name": "top_n_sigma", "label": "Top n sigma", "group": "cut", "kind": "range", "min": 0, "max": 10, "step": 0.1, "fallback": 0, "hint": "Within so many standard deviations; 0: off"},
	{"name": "samplers", "label": "Order", "group": "cut", "kind": "words", "fallback": null, "hint": "top_n_sigma, temperature, top_k, top_p, min_p, typical_p, xtc: one in each line; what is missing is off"},

	{"name": "repetition_penalty", "label": "Repetition penalty", "group": "repeat", "kind": "range", "min": 0.05, "max": 2, "step": 0.05, "fallback": 1, "hint": "Over prompt and output"},
	{"name": "presence_penalty", "label": "Presence penalty", "group": "repeat", "kind": "range", "min": -2, "max": 2, "step": 0.05, "fallback": 0, "hint": "Once for a token that was said"},
	{"name": "frequency_penalty", "label": "Frequency penalty", "group": "repeat", "kind": "range", "min": -2, "max": 2, "step": 0.05, "fallback": 0, "hint": "For each time that it was said"},
	{"name": "repeat_last_n", "label": "Looks back", "group": "repeat", "kind": "number", "min": -1, "max": null, "step": 1, "fallback": -1, "hint": "Tokens that penalties look at; -1: all"},
	{"name": "dry_multiplier", "label": "DRY multiplier", "group": "repeat", "kind": "range", "min": 0, "max": 5, "step": 0.05, "fallback": 0, "hint": "Against whole phrases that repeat; 0: off"},
	{"name": "dry_base", "label": "DRY base", "group": "repeat", "kind": "range", "min": 1, "max": 4, "step": 0.05, "fallback": 1.75, "hint": "Grows with the phrase's length"},
	{"name": "dry_allowed_length", "label": "DRY allowed length", "group": "repeat", "kind": "number", "min": 0, "max": null, "step": 1, "fallback": 2, "hint": "Phrases so long may repeat"},
	{"name": "dry_penalty_last_n", "label": "DRY looks back", "group": "repeat", "kind": "number", "min": -1, "max": null, "step": 1, "fallback": -1, "hint": "-1: over all"},
	{"name": "dry_sequence_breakers", "label": "DRY breakers", "group": "repeat", "kind": "words", "fallback": null, "hint": "Phrases end at these; a text in each line"},

	{"name": "xtc_probability", "label": "XTC probability", "group": "free", "kind": "range", "min": 0, "max": 1, "step": 0.01, "fallback": 0, "hint": "How often the obvious is left out; 0: off"},
	{"name": "xtc_threshold", "label": "XTC threshold", "group": "free", "kind": "range", "min": 0, "max": 1, "step": 0.01, "fallback": 0.1, "hint": "What counts as obvious"},
	{"name": "dynatemp_range", "label": "Dynamic temperature", "group": "free", "kind": "range", "min": 0, "max": 2, "step": 0.05, "fallback": 0, "hint": "How far it moves with the entropy; 0: off"},
	{"name": "dynatemp_exponent", "label": "Its exponent", "group": "free", "kind": "range", "min": 0, "max": 10, "step": 0.1, "fallback": 1, "hint": "How it follows the entropy"},
	{"name": "mirostat", "label": "Mirostat", "group": "free", "kind": "choice", "choices": [[0, "Off"], [2, "Version 2"]], "fallback": 0, "hint": "Keeps the surprise at a level"},
	{"name": "mirostat_tau", "label": "Its level", "group": "free", "kind": "range", "min": 0.1, "max": 20, "step": 0.1, "fallback": 5, "hint": "Surprise for each token"},
	{"name": "mirostat_eta", "label": "Its rate", "group": "free", "kind": "range", "min": 0, "max": 1, "step": 0.01, "fallback": 0.1, "hint": "How fast it follows"},

	{"name": "min_tokens", "label": "Least tokens", "group": "limits", "kind": "number", "min": 0, "max": null, "step": 1, "fallback": 0, "hint": "No end before"},
	{"name": "bad_words", "label": "Never say", "group": "limits", "kind": "words", "fallback": null, "hint": "A text in each line"},
	{"name": "logit_bias", "label": "Logit bias", "group": "limits", "kind": "json", "fallback": null, "hint": "Token ids with what is added: {\"42\": -100}"},
	{"name": "stop_token_ids", "label": "Stop tokens", "group": "limits", "kind": "list", "fallback": null, "hint": "Ids, with commas between"},
	{"name": "ignore_eos", "label": "Go on after the end", "group": "limits", "kind": "check", "fallback": false},
	{"name": "parse_special", "label": "Special tokens in the text count", "group": "limits", "kind": "check", "fallback": false},
	{"name": "priority", "label": "Priority", "group": "limits", "kind": "number", "min": -10, "max": 10, "step": 1, "fallback": 0, "hint": "Higher goes first"}
];
